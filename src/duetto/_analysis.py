"""A song's spectrogram as a network of another sample rate sees it, and the network's masks brought back."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from duetto._metadata import EstimatorMetadata
from duetto.masks import binary_masks
from duetto.stft import STFT


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Between a song and a network.

    Attributes:
        metadata: what the network says of itself.
        sample_rate: of the song, in hertz.
        mask: "ratio" or "binary".
    """

    metadata: EstimatorMetadata
    sample_rate: int
    mask: Literal["ratio", "binary"]

    @cached_property
    def stft(self) -> STFT:
        """The network's transform, its hertz and milliseconds kept, at the song's rate."""
        return self.metadata.stft.resampled(self.metadata.sample_rate, self.sample_rate)

    @cached_property
    def _scale(self) -> np.float32:
        return np.float32(self.metadata.stft.window_values.sum() / self.stft.window_values.sum())

    def network_input(self, spectrogram: NDArray[np.complex64]) -> NDArray[Any]:
        """The song's (n_channels, n_bins, n_frames) as what the network sees, in a batch of 1.

        A magnitude (1, its n_bins, n_frames), or a complex spectrogram (1, its n_channels, its n_bins,
        n_frames).
        """
        n_bins = self.metadata.stft.n_bins
        lower = spectrogram[:, :n_bins] * self._scale
        seen: NDArray[Any]
        if self.metadata.input == "magnitude":
            seen = _loudness(lower)
        else:
            seen = np.stack(_middle_and_side(lower)[: self.metadata.n_channels])
        n_above = n_bins - seen.shape[-2]
        return np.pad(seen, [(0, 0)] * (seen.ndim - 2) + [(0, n_above), (0, 0)])[None]

    def vocals(self, spectrogram: NDArray[np.complex64], masks: NDArray[Any]) -> NDArray[np.complex64]:
        """The vocals in the song's (n_channels, n_bins, n_frames), by the masks that the network gave."""
        if self.metadata.input == "magnitude":
            by_source = dict(zip(self.metadata.sources, masks[0], strict=True))
            if self.mask == "binary":
                by_source = binary_masks(by_source)
            return _masked(spectrogram, by_source["vocals"])
        if self.mask == "binary":
            masks = (masks.real >= 0.5).astype(np.float32)  # where the vocals are louder than the rest
        if masks.shape[1] == 1 or len(spectrogram) != 2:
            return _masked(spectrogram, masks[0, 0])
        middle, side = map(_masked, _middle_and_side(spectrogram), masks[0])
        vocals = np.empty_like(spectrogram)
        np.add(middle, side, out=vocals[0])
        np.subtract(middle, side, out=vocals[1])
        return vocals


def _middle_and_side(spectrogram: NDArray[np.complex64]) -> list[NDArray[np.complex64]]:
    """The mean of all channels, and half of left minus right; 0 unless there are two."""
    middle = spectrogram.mean(axis=0)
    if len(spectrogram) != 2:
        return [middle, np.zeros_like(middle)]
    return [middle, (spectrogram[0] - spectrogram[1]) / np.float32(2)]


def _loudness(spectrogram: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Magnitude (n_bins, n_frames) of all channels together.

    Mostly their mean, in which a voice in the middle stands out. A tenth of their mean power is added, so
    that channels of opposite sign do not cancel. Measured in benchmarks/stereo.py.
    """
    mean = spectrogram.mean(axis=0)
    power = (spectrogram.real**2 + spectrogram.imag**2).mean(axis=0)
    magnitude: NDArray[np.float32] = np.sqrt(0.9 * (mean.real**2 + mean.imag**2) + 0.1 * power)
    return magnitude


def _masked(spectrogram: NDArray[np.complex64], mask: NDArray[Any]) -> NDArray[np.complex64]:
    """The song's (..., n_bins, n_frames) times a mask (network's n_bins, n_frames)."""
    masked = np.empty_like(spectrogram)  # in the order in which spectra lie in memory
    n_bins = min(len(mask), spectrogram.shape[-2])
    np.multiply(spectrogram[..., :n_bins, :], mask[:n_bins], out=masked[..., :n_bins, :])
    np.multiply(spectrogram[..., n_bins:, :], _above(mask), out=masked[..., n_bins:, :])
    return masked


def _above(mask: NDArray[Any]) -> NDArray[np.float32]:
    """What a mask (n_bins, n_frames) is above the network's band: the mean magnitude of its top eighth."""
    top: NDArray[np.float32] = np.minimum(np.abs(mask[-(len(mask) // 8) :]).mean(axis=0), 1)
    return top
