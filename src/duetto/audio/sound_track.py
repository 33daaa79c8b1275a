"""A sound track that FFmpeg encodes into a container."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio.resampler import Resampler

AAC_MASKS = {1: (0x4,), 2: (0x3,), 3: (0x7, 0xB, 0x103), 4: (0x107, 0x33), 5: (0x37,), 6: (0x3F,)}
"""The channel masks that AAC can tell, by number of channels; the first where none is known."""

_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version of FFmpeg in the file
_DEFAULT_KBPS = 96  # per channel
_OPUS_RATE = 48_000  # Hz


class SoundTrack:
    """Encodes what is written, and hands the packets to a container.

    Args:
        av: The module of PyAV.
        container: An open output container of PyAV.
        codec: FFmpeg's name of the encoder: aac or libopus, which gets all that it encodes at 48 kHz.
        sample_rate: In Hz.
        n_channels: Number of channels.
        channel_mask: Which loudspeakers they are for, as `duetto.audio.channels` says; 0 if that is not known.
        bitrate_kbps: Of the track; by default 96 per channel.
        start: When the first sample is played, in seconds.

    Attributes:
        stream: PyAV's stream, for its metadata.
    """

    def __init__(
        self,
        av: Any,
        container: Any,
        codec: str,
        *,
        sample_rate: int,
        n_channels: int,
        channel_mask: int = 0,
        bitrate_kbps: float | None = None,
        start: Fraction = Fraction(0),
    ) -> None:
        self._av, self._container = av, container
        rate = _OPUS_RATE if codec == "libopus" else sample_rate
        self._resampler = None if rate == sample_rate else Resampler(sample_rate, rate, n_channels)
        self._layout = hex(channel_mask or AAC_MASKS[n_channels][0])
        self.stream = container.add_stream(codec, rate=rate, layout=self._layout)
        self._rate, self._unit = rate, Fraction(1, rate)
        context = self.stream.codec_context
        context.time_base = self._unit
        context.bit_rate = round(1000 * (bitrate_kbps or _DEFAULT_KBPS * n_channels))
        context.flags |= _BITEXACT
        self._position = round(start * rate)

    @property
    def seconds(self) -> Fraction:
        """When the next sample is played."""
        return self._position * self._unit

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append (n, n_channels) floats."""
        self._encode(self._resampler.process(samples) if self._resampler else samples)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._resampler:
            self._encode(self._resampler.finish())
        self._container.mux(self.stream.encode(None))

    def _encode(self, samples: NDArray[np.float32]) -> None:
        if not len(samples):
            return
        planes = np.ascontiguousarray(samples.T, np.float32)
        frame = self._av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate, frame.time_base, frame.pts = self._rate, self._unit, self._position
        self._position += len(samples)
        self._container.mux(self.stream.encode(frame))
