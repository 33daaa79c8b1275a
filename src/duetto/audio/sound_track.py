"""A sound track that FFmpeg encodes into a container, and a file of one such track."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from duetto.audio.ffmpeg import need_av
from duetto.audio.resampler import Resampler

AAC_MASKS = {1: (0x4,), 2: (0x3,), 3: (0x7, 0xB, 0x103), 4: (0x107, 0x33), 5: (0x37,), 6: (0x3F,)}
"""The channel masks that AAC can tell, by number of channels; the first where none is known."""

_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version of FFmpeg in the file
_DEFAULT_KBPS = 96  # per channel
TAG_NAMES = {"tracknumber": "track"}  # FFmpeg's, where they differ from those of Vorbis comments
OPUS_RATE = 48_000  # Hz
_OPUS_EARLY = 1  # samples: Matroska counts in ms, and FFmpeg reads the encoder's delay of 6.5 ms as 7


class SoundTrack:
    """Encodes what is written, and hands the packets to a container.

    Args:
        av: The module of PyAV.
        container: An open output container of PyAV.
        codec: FFmpeg's name of the encoder: aac or libopus, which gets all that it encodes at 48 kHz.
        sample_rate: In Hz.
        n_channels: Number of channels.
        channel_mask: Which loudspeakers they are for, as `duetto.audio.channels` says; 0 if that is unknown.
        bitrate_kbps: Of the track; by default 96 per channel.
        start: When the first sample is played, in seconds.

    Attributes:
        stream: PyAV's stream, for its metadata.
    """

    def __init__(
        self,
        av: Any,
        container: Any,
        *,
        codec: str,
        sample_rate: int,
        n_channels: int,
        channel_mask: int = 0,
        bitrate_kbps: float | None = None,
        start: Fraction = Fraction(0),
    ) -> None:
        self._av, self._container = av, container
        rate = OPUS_RATE if codec == "libopus" else sample_rate
        self._resampler = None if rate == sample_rate else Resampler(sample_rate, rate, n_channels)
        self._layout = hex(channel_mask or AAC_MASKS[n_channels][0])
        self.stream = container.add_stream(codec, rate=rate, layout=self._layout)
        self._rate, self._unit = rate, Fraction(1, rate)
        context = self.stream.codec_context
        context.time_base = self._unit
        context.bit_rate = round(1000 * (bitrate_kbps or _DEFAULT_KBPS * n_channels))
        context.flags |= _BITEXACT
        self._position = round(start * rate)
        if codec == "libopus" and start > 0:
            self._position -= _OPUS_EARLY

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


class M4AEncoder:
    """Writes M4A: AAC in MP4, of the length that went in.

    Args:
        sink: Where to.
        sample_rate: In Hz.
        n_channels: Number of channels.
        channel_mask: One of `AAC_MASKS`, or 0.
        texts: Tags by their names in Vorbis comments.
        bitrate_kbps: Of the whole; by default 96 per channel.
    """

    def __init__(
        self,
        sink: BinaryIO,
        sample_rate: int,
        n_channels: int,
        *,
        channel_mask: int = 0,
        texts: Mapping[str, str] = MappingProxyType({}),
        bitrate_kbps: float | None = None,
    ) -> None:
        av = need_av(Path(str(sink.name)))
        # the length of the whole is told in units of this scale: one sample, not a millisecond
        options = {"movie_timescale": str(sample_rate), "fflags": "+bitexact"}
        self._container = av.open(sink, "w", format="ipod", options=options)
        self._container.metadata.update({TAG_NAMES.get(name, name): text for name, text in texts.items()})
        self._sound = SoundTrack(
            av,
            self._container,
            codec="aac",
            sample_rate=sample_rate,
            n_channels=n_channels,
            channel_mask=channel_mask,
            bitrate_kbps=bitrate_kbps,
        )
        self._closed = False

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append (n, n_channels) floats."""
        self._sound.write(samples)

    def close(self) -> None:
        """Write what is left, and the index; once."""
        if not self._closed:
            self._closed = True
            self._sound.finish()
            self._container.close()
