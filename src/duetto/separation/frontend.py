"""A song's spectrogram as a network of another sample rate sees it, and the network's masks brought back."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.masks import binary_masks
from duetto.dsp.stft import STFT
from duetto.models.metadata import EstimatorMetadata


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Between a song and a network.

    Attributes:
        metadata: what the network says of itself.
        sample_rate: of the song, in hertz.
        mask: "ratio" or "binary".
        speed: at which the network hears the song; its pitch changes as well.
    """

    metadata: EstimatorMetadata
    sample_rate: int
    mask: Literal["ratio", "binary"]
    speed: float = 1.0

    @cached_property
    def stft(self) -> STFT:
        """The network's transform, its hertz and milliseconds kept, at the song's rate.

        Frames that are longer than that by a factor are the frames of a song faster by it.
        """
        return self.metadata.stft.resampled(self.metadata.sample_rate, self.sample_rate * self.speed)

    @cached_property
    def _scale(self) -> np.float32:
        return np.float32(self.metadata.stft.window_values.sum() / self.stft.window_values.sum())

    def network_input(self, spectrogram: NDArray[np.complex64]) -> NDArray[Any]:
        """The song's (n_channels, n_bins, n_frames) as what the network sees, in a batch of 1.

        The channels of a stereo song are its middle and side. A magnitude (1, its n_bins, n_frames), or a
        complex spectrogram (1, its n_channels, its n_bins, n_frames).
        """
        n_channels, n_bins = self.metadata.n_channels, self.metadata.stft.n_bins
        n_frames = spectrogram.shape[-1]
        lower = spectrogram[:, :n_bins]
        if self.metadata.input == "magnitude":
            return _filled(_loudness(lower) * self._scale, (n_bins, n_frames))[None]
        parts = lower if len(lower) == 2 else lower.mean(axis=0, keepdims=True)
        return _filled(parts[:n_channels] * self._scale, (n_channels, n_bins, n_frames))[None]

    def vocals(self, spectrogram: NDArray[np.complex64], masks: NDArray[Any]) -> NDArray[np.complex64]:
        """The song's (n_channels, n_bins, n_frames) becomes its vocals', by the masks that the network gave.

        It is changed in place, for a copy would be as large. The channels of a stereo song are its middle and
        side.
        """
        if self.metadata.input == "magnitude":
            by_source = dict(zip(self.metadata.sources, masks[0], strict=True))
            if self.mask == "binary":
                by_source = binary_masks(by_source)
            return _masked(spectrogram, by_source["vocals"])
        if self.mask == "binary":
            masks = (masks.real >= 0.5).astype(np.float32)  # where the vocals are louder than the rest
        if masks.shape[1] == 1 or len(spectrogram) != 2:
            return _masked(spectrogram, masks[0, 0])
        return _masked(spectrogram, masks[0])


def _filled(seen: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """With zeros behind it up to a shape: bins above those of the song, the side of what has none."""
    missing = [(0, wanted - held) for wanted, held in zip(shape, seen.shape, strict=True)]
    return np.pad(seen, missing) if seen.shape != shape else seen


def _loudness(spectrogram: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Magnitude (n_bins, n_frames) of all channels together, of a stereo song its middle and side.

    Mostly their mean, in which a voice in the middle stands out. A tenth of their mean power is added, so
    that channels of opposite sign do not cancel. Measured in benchmarks/stereo.py.
    """
    power = spectrogram.real**2 + spectrogram.imag**2
    if len(spectrogram) == 2:
        middle, mean_power = power[0], power.sum(axis=0)
    else:
        mean = spectrogram.mean(axis=0)
        middle, mean_power = mean.real**2 + mean.imag**2, power.mean(axis=0)
    magnitude: NDArray[np.float32] = np.sqrt(0.9 * middle + 0.1 * mean_power)
    return magnitude


def _masked(spectrogram: NDArray[np.complex64], mask: NDArray[Any]) -> NDArray[np.complex64]:
    """The song's (n_channels, n_bins, n_frames), multiplied by a mask (..., network's n_bins, n_frames)."""
    n_bins = min(mask.shape[-2], spectrogram.shape[-2])
    spectrogram[:, :n_bins] *= mask[..., :n_bins, :]
    spectrogram[:, n_bins:] *= _above(mask)
    return spectrogram


def _above(mask: NDArray[Any]) -> NDArray[np.float32]:
    """What a mask (..., n_bins, n_frames) is above the network's band, (..., 1, n_frames).

    It is the mean magnitude of its top eighth.
    """
    top = np.abs(mask[..., -(mask.shape[-2] // 8) :, :]).mean(axis=-2, keepdims=True)
    return np.asarray(np.minimum(top, 1), np.float32)
