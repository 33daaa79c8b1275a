"""A song's spectrogram as a network of another sample rate sees it, and the network's masks brought back."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

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

    def magnitude(self, spectrogram: NDArray[np.complex64]) -> NDArray[np.float32]:
        """The song's (n_channels, n_bins, n_frames) as the network's input (1, its n_bins, n_frames)."""
        return _network_input(spectrogram, self.metadata.stft.n_bins)[None] * self._scale

    def vocals_mask(self, masks: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's masks (1, n_sources, its n_bins, n_frames) to the song's (n_bins, n_frames)."""
        by_source = dict(zip(self.metadata.sources, masks[0], strict=True))
        if self.mask == "binary":
            by_source = binary_masks(by_source)
        return _extend(by_source["vocals"], self.stft.n_bins)


def _network_input(spectrogram: NDArray[np.complex64], n_bins: int) -> NDArray[np.float32]:
    """Magnitude (n_bins, n_frames) of all channels together, on the network's frequency axis.

    Mostly their mean, in which a voice in the middle stands out. A tenth of their mean power is added, so
    that channels of opposite sign do not cancel. Measured in benchmarks/stereo.py.
    """
    seen = spectrogram[:, :n_bins]
    mean = seen.mean(axis=0)
    power = (seen.real**2 + seen.imag**2).mean(axis=0)
    magnitude = np.sqrt(0.9 * (mean.real**2 + mean.imag**2) + 0.1 * power)
    return np.pad(magnitude, [(0, n_bins - magnitude.shape[0]), (0, 0)])


def _extend(mask: NDArray[np.float32], n_bins: int) -> NDArray[np.float32]:
    """Bring a mask (network's n_bins, n_frames) to `n_bins`.

    Above the network's band it goes on as the mean of its top eighth.
    """
    n_above = n_bins - mask.shape[0]
    if n_above <= 0:
        return mask[:n_bins]
    top = mask[-(mask.shape[0] // 8) :].mean(axis=0)
    return np.concatenate([mask, np.broadcast_to(top, (n_above, top.size))])
