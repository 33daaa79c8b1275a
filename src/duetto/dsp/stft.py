"""The short-time Fourier transform and its inverse, in NumPy.

Spectrograms are (..., n_frames, n_bins): frame after frame, as the FFT writes them and as models read them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Window = Literal["sine", "hann"]

_CHUNK = 16


@dataclass(frozen=True, kw_only=True)
class STFT:
    """A short-time Fourier transform whose inverse returns the very same waveform.

    Attributes:
        n_fft: samples in a frame, even.
        hop_length: samples between frames, at most `n_fft // 2` so that no sample is lost.
        window: "sine", w[n] = sin(pi n / n_fft) as in Huang et al. 2014 (its square is the periodic
            Hann window), or "hann" itself; used for analysis and again for synthesis.
        centred: True: frame k is centred on sample k * hop_length, with zeros beyond both ends; the last
            centre lies at or beyond the end, so that every sample comes back. False: the papers' framing;
            frame k starts at sample k * hop_length and a tail that does not fill a frame is dropped.
    """

    n_fft: int
    hop_length: int
    window: Window
    centred: bool = True

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2 or not 1 <= self.hop_length <= self.n_fft // 2:
            raise ValueError(
                f"n_fft={self.n_fft}, hop_length={self.hop_length}: n_fft must be even and positive, "
                "hop_length at least 1 and at most half of n_fft"
            )
        if self.window not in ("sine", "hann"):
            raise ValueError(f"window={self.window!r}: choose 'sine' or 'hann'")

    @property
    def n_bins(self) -> int:
        """Frequency bins of a frame, from 0 Hz to the Nyquist frequency."""
        return self.n_fft // 2 + 1

    @cached_property
    def window_values(self) -> NDArray[np.float32]:
        """The window, shape (n_fft,)."""
        sine = np.sin(np.pi * np.arange(self.n_fft) / self.n_fft)
        return (sine if self.window == "sine" else sine**2).astype(np.float32)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of `n_samples` samples."""
        if self.centred:
            return 1 + -(-n_samples // self.hop_length)
        return max(0, 1 + (n_samples - self.n_fft) // self.hop_length)

    def resampled(self, sample_rate: float, new_sample_rate: float) -> "STFT":
        """The transform of the same frequency and time resolution at another sample rate (Hz).

        The nearest even n_fft is taken, not a rounder one: a network's frequency axis stays in place.
        """
        ratio = new_sample_rate / sample_rate
        return replace(
            self,
            n_fft=2 * round(self.n_fft * ratio / 2),
            hop_length=min(round(self.hop_length * ratio), round(self.n_fft * ratio / 2)),
        )

    def forward(self, waveform: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Waveform (..., n_samples) to spectrogram (..., n_frames, n_bins), complex64."""
        n_samples = waveform.shape[-1]
        n_frames = self.n_frames(n_samples)
        if n_frames == 0:
            return np.zeros((*waveform.shape[:-1], 0, self.n_bins), np.complex64)
        if self.centred:
            before = self.n_fft // 2
            after = before + -n_samples % self.hop_length
            waveform = np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(before, after)])
        frames = np.lib.stride_tricks.sliding_window_view(waveform, self.n_fft, axis=-1)
        frames = frames[..., :: self.hop_length, :]
        spectra = np.empty((*waveform.shape[:-1], n_frames, self.n_bins), np.complex64)
        # under its default norm NumPy computes rfft in double precision, in twice the time and five times the
        # memory; so it divides by n_fft here, and the window multiplies
        window = self.window_values * np.float32(self.n_fft)
        for some in _chunks(n_frames):
            spectra[..., some, :] = np.fft.rfft(frames[..., some, :] * window, norm="forward")
        return spectra

    def inverse(self, spectrogram: NDArray[np.complex64], n_samples: int) -> NDArray[np.float32]:
        """Spectrogram (..., n_frames, n_bins) to waveform (..., n_samples), by weighted overlap-add.

        This is the least-squares inverse of Griffin and Lim (1984, equation 6). With `centred=False` the
        dropped tail comes back as zero, and so do the samples at both ends, one with the sine window and
        a few with the Hann window, where the only window is as good as 0.
        """
        summed, weight = self.overlap_add(spectrogram)
        divide(summed, weight)
        start = self.n_fft // 2 if self.centred else 0
        waveform = summed[..., start : start + n_samples]
        missing = n_samples - waveform.shape[-1]
        return np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)]) if missing else waveform

    def overlap_add(
        self, spectrogram: NDArray[np.complex64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Spectrogram (..., n_frames, n_bins) to the sum of its windowed frames and the weights to divide by.

        Both reach from the first sample of the first frame to the last of the last, in whole hops:
        (..., n_samples) and (n_samples,).
        """
        *leading, n_frames, _ = spectrogram.shape
        n_samples = (n_frames - 1 - -self.n_fft // self.hop_length) * self.hop_length
        summed, weight = np.zeros((*leading, n_samples), np.float32), np.zeros(n_samples, np.float32)
        self._add(np.broadcast_to(self.window_values**2, (n_frames, self.n_fft)), weight)
        for some in _chunks(n_frames):
            frames = np.fft.irfft(spectrogram[..., some, :], self.n_fft).astype(np.float32, copy=False)
            frames *= self.window_values
            self._add(frames, summed[..., some.start * self.hop_length :])
        return summed, weight

    def _add(self, frames: NDArray[np.float32], summed: NDArray[np.float32]) -> None:
        """Add frames (..., n_frames, n_fft), `hop_length` apart, to samples (..., at least as many)."""
        n_frames, hop = frames.shape[-2], self.hop_length
        for start in range(0, self.n_fft, hop):
            piece = frames[..., start : start + hop]
            hops = summed[..., start : start + n_frames * hop]
            hops.reshape(*hops.shape[:-1], n_frames, hop)[..., : piece.shape[-1]] += piece


def _chunks(n_frames: int) -> Iterator[slice]:
    """Slices of a few frames, so that no more are held in memory before or behind the transform."""
    for start in range(0, n_frames, _CHUNK):
        yield slice(start, start + _CHUNK)


def divide(summed: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
    """Divide overlap-added frames, in place, by the sum of their squared windows where that is not 0."""
    np.divide(summed, weight, out=summed, where=weight > 1e-8)
