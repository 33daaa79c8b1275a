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
            seen = _middle_and_side(lower)[: self.metadata.n_channels]
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
        return np.stack([middle + side, middle - side])


def _middle_and_side(spectrogram: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The mean of all channels, and half of left minus right; 0 unless there are two."""
    middle = spectrogram.mean(axis=0)
    side = (spectrogram[0] - spectrogram[1]) / 2 if len(spectrogram) == 2 else np.zeros_like(middle)
    return np.stack([middle, side]).astype(np.complex64, copy=False)


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
    masked: NDArray[np.complex64] = spectrogram * _extend(mask, spectrogram.shape[-2])
    return masked


def _extend(mask: NDArray[Any], n_bins: int) -> NDArray[Any]:
    """Bring a mask (network's n_bins, n_frames) to `n_bins`.

    Above the network's band it goes on as the mean magnitude of its top eighth.
    """
    n_above = n_bins - mask.shape[0]
    if n_above <= 0:
        return mask[:n_bins]
    top = np.minimum(np.abs(mask[-(mask.shape[0] // 8) :]).mean(axis=0), 1).astype(mask.dtype)
    return np.concatenate([mask, np.broadcast_to(top, (n_above, top.size))])
