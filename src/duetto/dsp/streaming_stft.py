"""The short-time Fourier transform of a stream, chunk by chunk, and its inverse."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Waveform, cut
from duetto.dsp.stft import STFT, divide

Spectrogram = NDArray[np.complex64]


class StreamingSTFT:
    """The transform of one stream; the same as `STFT.forward` and `STFT.inverse` of all of it at once.

    Args:
        stft: the transform, centred.
    """

    def __init__(self, stft: STFT) -> None:
        self._stft = replace(stft, centred=False)  # the stream is padded as a whole
        self._n_samples = 0

    def forward(
        self, blocks: Iterable[Waveform], *, n_frames: int, n_first_frames: int
    ) -> Iterator[tuple[Spectrogram, bool]]:
        """Blocks (n_channels, any length) to spectrograms, and whether each is the last.

        They are (n_channels, n_frames, n_bins), the first (n_channels, n_first_frames, n_bins); the last may
        have fewer frames.
        """
        sizes = chain([self._size(n_first_frames)], repeat(self._size(n_frames)))
        for samples, is_last in cut(self._padded(blocks), sizes):
            yield self._stft.forward(samples), is_last

    def _size(self, n_frames: int) -> tuple[int, int]:
        """Samples of so many frames, and from them to the next."""
        n_fft, hop = self._stft.n_fft, self._stft.hop_length
        return n_fft + (n_frames - 1) * hop, n_frames * hop

    def _padded(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        half = self._stft.n_fft // 2
        for block in blocks:
            if self._n_samples == 0:
                yield np.zeros((len(block), half), np.float32)
            self._n_samples += block.shape[-1]
            yield block
        if self._n_samples:
            yield np.zeros((len(block), half + -self._n_samples % self._stft.hop_length), np.float32)

    def inverse(self, spectrograms: Iterable[Spectrogram]) -> Iterator[Waveform]:
        """Spectrograms (n_channels, any n_frames, n_bins) to the samples to which no later frame adds.

        Joined they are as many samples as the blocks had; `forward` must have been given a block before its
        frames come here.
        """
        start = -(self._stft.n_fft // 2)
        for samples in self._divided(spectrograms):
            inside = samples[:, max(0, -start) : max(0, self._n_samples - start)]
            start += samples.shape[-1]
            if inside.shape[-1]:
                yield inside

    def _divided(self, spectrograms: Iterable[Spectrogram]) -> Iterator[Waveform]:
        before = None
        for spectrogram in spectrograms:
            summed, weight = self._stft.overlap_add(spectrogram)
            if before is not None:
                for now, held in zip((summed, weight), before, strict=True):
                    now[..., : held.shape[-1]] += held
            n_done = spectrogram.shape[-2] * self._stft.hop_length
            del spectrogram  # large, and the next takes a while
            done = summed[..., :n_done]
            divide(done, weight[:n_done])
            yield done
            before = summed[..., n_done:], weight[n_done:]
        if before is not None:
            divide(*before)
            yield before[0]
