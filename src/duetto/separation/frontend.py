"""The input of a model from a song's spectrogram, and the song's vocals from the masks of the model."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.masks import binary_masks
from duetto.dsp.stft import STFT
from duetto.models.metadata import ModelMetadata

Spectrogram = NDArray[np.complex64]

INAUDIBLE = 1e-6
"""Power of a channel relative to another, -60 dB, below which a frame counts as that of a single channel."""


@dataclass(frozen=True, kw_only=True)
class Frontend:
    """Between the spectrogram of a song, at its own sample rate, and a model.

    Spectrograms of a song are (n_channels, n_frames, n_bins); the channels of a stereo song are mid and side.

    Attributes:
        metadata: of the model.
        sample_rate: of the song, in Hz.
        mask: "ratio" or "binary".
        speed: the model gets the song faster by this factor, and higher.
    """

    metadata: ModelMetadata
    sample_rate: int
    mask: Literal["ratio", "binary"]
    speed: float = 1.0

    @cached_property
    def stft(self) -> STFT:
        """The model's transform at the song's sample rate, of the same frequency and time resolution.

        Frames that are longer by a factor are the frames of a song faster by it.
        """
        return self.metadata.stft.resampled(self.metadata.sample_rate, self.sample_rate * self.speed)

    @property
    def latency(self) -> int:
        """Samples from the first of a frame to the last that its masks depend on, and one more."""
        return self.stft.n_fft + self.metadata.look_ahead * self.stft.hop_length

    @cached_property
    def _scale(self) -> np.float32:
        return np.float32(self.metadata.stft.window_values.sum() / self.stft.window_values.sum())

    def network_input(self, spectrogram: Spectrogram) -> NDArray[Any]:
        """The input of the model for a song's spectrogram, in a batch of 1.

        Returns:
            A magnitude (1, n_frames, n_bins of the model), or a spectrogram (1, n_channels of the model,
            n_frames, n_bins of the model), as the metadata say.
        """
        n_bins, n_frames = self.metadata.stft.n_bins, spectrogram.shape[1]
        channels = downmix(spectrogram[..., :n_bins])
        if self.metadata.input == "magnitude":
            return _padded(_magnitude(channels) * self._scale, (n_frames, n_bins))[None]
        n_channels = self.metadata.n_channels
        return _padded(channels[:n_channels] * self._scale, (n_channels, n_frames, n_bins))[None]

    def vocals(self, spectrogram: Spectrogram, masks: NDArray[Any]) -> Spectrogram:
        """A song's spectrogram times the masks that the model gave for it: that of the vocals.

        It is changed in place, for a copy would be as large.
        """
        if self.metadata.input == "magnitude":
            by_source = dict(zip(self.metadata.sources, masks[0], strict=True))
            if self.mask == "binary":
                by_source = binary_masks(by_source)
            return _masked(spectrogram, by_source["vocals"])
        n_channels = self.metadata.n_channels
        own, cross = masks[0, :n_channels], masks[0, n_channels:]
        if self.mask == "binary":
            own = (own.real >= 0.5).astype(np.float32)  # where the vocals are louder than the rest
        if len(own) == 1 or len(spectrogram) != 2:
            return _masked(spectrogram, own[0])
        one_channel = _frames_of_one_channel(spectrogram[..., : own.shape[-1]])
        if one_channel.any():
            own[1, one_channel] = own[0, one_channel]
        if len(cross) == 0 or self.mask == "binary":
            return _masked(spectrogram, own)
        cross[:, one_channel] = 0
        n_bins = min(own.shape[-1], spectrogram.shape[-1])
        from_other = spectrogram[::-1, :, :n_bins] * cross[..., :n_bins]
        spectrogram = _masked(spectrogram, own)
        spectrogram[..., :n_bins] += from_other
        return spectrogram


def downmix(spectrogram: Spectrogram) -> Spectrogram:
    """Mid and side (2, n_frames, n_bins) of a stereo song; a single channel of any other.

    Of more than two channels it is their sum, in which a voice of one of them keeps its level. Frames of a
    stereo song that sound in one channel alone, left, right or side, become that channel as mid, without
    side: a voice there is found as in a mono song.
    """
    if len(spectrogram) == 1:
        return spectrogram
    if len(spectrogram) > 2:
        return np.asarray(spectrogram.sum(axis=0, keepdims=True))
    one_channel = _frames_of_one_channel(spectrogram)
    if not one_channel.any():
        return spectrogram
    mid, side = spectrogram[:, one_channel]
    candidates = np.stack([mid + side, mid - side, side])
    loudest = np.argmax(_power(candidates), axis=0)
    channels = spectrogram.copy()
    channels[0, one_channel] = candidates[loudest, np.arange(len(loudest))]
    channels[1, one_channel] = 0
    return channels


def _frames_of_one_channel(spectrogram: Spectrogram) -> NDArray[np.bool_]:
    """Which frames of mid and side (2, n_frames, n_bins) have a silent left or right channel or mid."""
    mid, side = spectrogram
    left, right = _power(mid + side), _power(mid - side)
    one_side = (right < INAUDIBLE * left) | (left < INAUDIBLE * right)
    return np.asarray(one_side | (_power(mid) < INAUDIBLE * _power(side)))


def _power(spectrogram: Spectrogram) -> NDArray[np.float32]:
    """The power of each frame, (..., n_frames)."""
    parts = np.ascontiguousarray(spectrogram).view(np.float32)
    return np.asarray(np.einsum("...fb,...fb->...f", parts, parts))


def _padded(x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """With zeros behind it up to a shape: bins above those of the song, the side of what has none."""
    missing = [(0, wanted - held) for wanted, held in zip(shape, x.shape, strict=True)]
    return np.pad(x, missing) if x.shape != shape else x


def _magnitude(channels: Spectrogram) -> NDArray[np.float32]:
    """Magnitude (n_frames, n_bins) of a downmix.

    Mostly that of the mid, in which a voice in the centre stands out. A tenth of the power of the side is
    added, so that channels of opposite sign do not cancel. Measured in benchmarks/stereo.py.
    """
    power = channels.real**2 + channels.imag**2
    magnitude: NDArray[np.float32] = np.sqrt(power[0] + 0.1 * power[1:].sum(axis=0))
    return magnitude


def _masked(spectrogram: Spectrogram, mask: NDArray[Any]) -> Spectrogram:
    """A song's (n_channels, n_frames, n_bins), multiplied by a mask (..., n_frames, n_bins of the model)."""
    n_bins = min(mask.shape[-1], spectrogram.shape[-1])
    spectrogram[..., :n_bins] *= mask[..., :n_bins]
    spectrogram[..., n_bins:] *= _above(mask)
    return spectrogram


def _above(mask: NDArray[Any]) -> NDArray[np.float32]:
    """The mask above the frequencies of the model, (..., n_frames, 1): the mean of its top eighth."""
    top = np.abs(mask[..., -(mask.shape[-1] // 8) :]).mean(axis=-1, keepdims=True)
    return np.asarray(np.minimum(top, 1), np.float32)
