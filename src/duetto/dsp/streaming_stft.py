"""A stream as the frames of a transform: cut from its blocks, and added up again to as many samples."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Waveform, cut
from duetto.dsp.stft import STFT, divide


class Frames:
    """One stream's way into frames and back, as `STFT.forward` and `STFT.inverse` of all of it at once.

    Args:
        stft: the transform.

    Attributes:
        stft: the same without its padding, for pieces of the stream.
    """

    def __init__(self, stft: STFT) -> None:
        self.stft = replace(stft, centred=False)
        self._n_samples = 0

    def cut(self, blocks: Iterable[Waveform], n_frames: int) -> Iterator[tuple[Waveform, bool]]:
        """Blocks (n_channels, any length) to the samples of `n_frames` frames, and whether more follow.

        The last may be fewer frames.
        """
        n_fft, hop = self.stft.n_fft, self.stft.hop_length
        return cut(self._padded(blocks), length=n_fft + (n_frames - 1) * hop, stride=n_frames * hop)

    def _padded(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        half = self.stft.n_fft // 2
        for block in blocks:
            if self._n_samples == 0:
                yield np.zeros((len(block), half), np.float32)
            self._n_samples += block.shape[-1]
            yield block
        if self._n_samples:
            yield np.zeros((len(block), half + -self._n_samples % self.stft.hop_length), np.float32)

    def added(self, spectra: Iterable[NDArray[np.complex64]]) -> Iterator[Waveform]:
        """Spectrograms (n_channels, n_bins, any length) to the samples to which no later one adds."""
        start = -(self.stft.n_fft // 2)
        for samples in self._divided(spectra):
            inside = samples[:, max(0, -start) : max(0, self._n_samples - start)]
            start += samples.shape[-1]
            if inside.shape[-1]:
                yield inside

    def _divided(self, spectra: Iterable[NDArray[np.complex64]]) -> Iterator[Waveform]:
        before = None
        for spectrogram in spectra:
            summed, weight = self.stft.added(spectrogram)
            if before is not None:
                for now, held in zip((summed, weight), before, strict=True):
                    now[..., : held.shape[-1]] += held
            n_done = spectrogram.shape[-1] * self.stft.hop_length
            del spectrogram  # large, and the next is long in coming
            done = summed[..., :n_done]
            divide(done, weight[:n_done])
            yield done
            before = summed[..., n_done:], weight[n_done:]
        if before is not None:
            divide(*before)
            yield before[0]
