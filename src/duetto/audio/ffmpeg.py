"""What FFmpeg reads and writes, through PyAV, where libsndfile cannot: MP4, M4A, Matroska, WebM, WMA, AAC."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from duetto.audio.containers import after_id3
from duetto.audio.formats import AudioInfo
from duetto.audio.waveform import check_n_channels, check_sample_rate
from duetto.errors import AudioError

_CONTAINERS = {"mov": "MP4", "matroska": "MATROSKA", "asf": "ASF", "aac": "ADTS"}  # by FFmpeg's names
AAC_MASKS = {1: (0x4,), 2: (0x3,), 3: (0x7, 0xB, 0x103), 4: (0x107, 0x33), 5: (0x37,), 6: (0x3F,)}
"""The channel masks that AAC can tell, by number of channels; the first where none is known."""

_TAG_NAMES = {"tracknumber": "track"}  # FFmpeg's, where they differ from those of Vorbis comments
_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version of FFmpeg in the file
_DEFAULT_KBPS = 96  # per channel


def recognise(path: Path) -> str | None:
    """FFmpeg's name of a file's format, told from its first bytes; None where it is none of these.

    FFmpeg itself is never asked: it would take playlists too, and open what they name.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return "mov"
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return "matroska"
        if head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
            return "asf"
        file.seek(after_id3(head))
        sync = file.read(2)
    return "aac" if len(sync) == 2 and sync[0] == 0xFF and sync[1] & 0xF6 == 0xF0 else None


def need_av(path: Path) -> Any:
    """The module av.

    Raises:
        AudioError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise AudioError(
            f"{path} needs FFmpeg, which is not installed; run pip install 'duetto[av]'"
        ) from error
    return av


class Source:
    """The first good audio stream of a file.

    Args:
        path: the file.
        name: its format, as `recognise` says.

    Attributes:
        info: its audio; the length is counted by decoding, since most of these files only estimate it.

    Raises:
        AudioError: it is damaged, has no audio, or PyAV is missing.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._av = need_av(path)
        with self._opened() as (_, stream):
            codec = stream.codec_context
            sample_rate = check_sample_rate(codec.sample_rate, str(path))
            n_channels = codec.layout.nb_channels
            check_n_channels(n_channels, str(path))
            subtype = _subtype(codec)
        self.info = AudioInfo(sample_rate, n_channels, 0, _CONTAINERS[name], subtype)
        n_samples = sum(map(len, self._frames()))
        self.info = AudioInfo(sample_rate, n_channels, n_samples, _CONTAINERS[name], subtype)

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays as soundfile gives them: integers fill 32 bits from the left."""
        waiting: list[NDArray[Any]] = []
        n_waiting = 0
        for samples in self._frames():
            waiting.append(samples)
            n_waiting += len(samples)
            if n_waiting >= n_samples:
                joined = np.concatenate(waiting)
                for start in range(0, n_waiting - n_samples + 1, n_samples):
                    yield joined[start : start + n_samples]
                waiting = [joined[n_waiting - n_waiting % n_samples :]]
                n_waiting %= n_samples
        if n_waiting:
            yield np.concatenate(waiting)

    def _frames(self) -> Iterator[NDArray[Any]]:
        n_read = 0
        with self._opened() as (container, stream):
            left = _length(stream)
            for frame in container.decode(stream):
                if (
                    frame.sample_rate != self.info.sample_rate
                    or frame.layout.nb_channels != self.info.n_channels
                ):
                    got = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz"
                    raise AudioError(f"{self._path} changes to {got} at sample {n_read}; convert it to WAV")
                samples = _native(frame)[:left]
                left = None if left is None else left - len(samples)
                n_read += len(samples)
                yield samples
            if left:
                promised = f"its header promises {n_read + left} samples, {n_read} are there"
                raise AudioError(f"{self._path} is truncated: {promised}; get a whole copy of it")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        options = {"protocol_whitelist": "file"}
        try:
            with self._av.open(
                str(self._path), format=self._name, container_options=options, metadata_errors="ignore"
            ) as container:
                stream = container.streams.best("audio")
                if stream is None:
                    raise AudioError(f"{self._path} holds no sound; give a file with audio in it")
                yield container, stream
        except (self._av.FFmpegError, ValueError, IndexError) as error:
            raise AudioError(
                f"{self._path} is truncated or damaged, or its codec is unknown: {error}"
            ) from error


def _length(stream: Any) -> int | None:
    """The samples of a stream whose file counts in samples, as MP4 does; the last packet holds more."""
    exact = stream.time_base == Fraction(1, stream.codec_context.sample_rate)
    return stream.duration if exact and stream.duration else None


def _subtype(codec: Any) -> str:
    """How a stream is coded, in libsndfile's words where it has them."""
    sample = codec.format.packed.name
    if sample in ("flt", "dbl"):
        return (
            {"flt": "FLOAT", "dbl": "DOUBLE"}[sample] if codec.name.startswith("pcm_") else codec.name.upper()
        )
    bits, extradata = codec.format.bits, codec.extradata or b""
    if codec.name == "alac" and len(extradata) > 17:
        bits = extradata[17]
    elif codec.name == "flac" and len(extradata) > 13:
        bits = ((extradata[12] & 1) << 4 | extradata[13] >> 4) + 1
    elif codec.name.startswith("pcm_s24"):
        bits = 24
    return f"PCM_{next(depth for depth in (16, 24, 32) if depth >= min(bits, 32))}"


def _native(frame: Any) -> NDArray[Any]:
    samples: NDArray[Any] = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.T.astype(np.int32) - 128) << 24
    if samples.dtype == np.int16:
        return samples.T.astype(np.int32) << 16
    return samples.T


class Encoder:
    """Writes M4A: AAC in MP4, of the length that went in.

    Args:
        sink: where to.
        sample_rate: in Hz.
        n_channels: number of channels.
        channel_mask: one of `AAC_MASKS`, or 0.
        texts: tags by their names in Vorbis comments.
        bitrate_kbps: of the whole; by default 96 per channel.
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
        self._av = need_av(Path(str(sink.name)))
        # the length of the whole is told in units of this scale: one sample, not a millisecond
        options = {"movie_timescale": str(sample_rate), "fflags": "+bitexact"}
        self._container = self._av.open(sink, "w", format="ipod", options=options)
        self._container.metadata.update({_TAG_NAMES.get(name, name): text for name, text in texts.items()})
        self._layout = hex(channel_mask or AAC_MASKS[n_channels][0])
        self._stream = self._container.add_stream("aac", rate=sample_rate, layout=self._layout)
        self._sample_rate, self._unit = sample_rate, Fraction(1, sample_rate)
        codec = self._stream.codec_context
        codec.format, codec.time_base = "fltp", self._unit
        codec.bit_rate = round(1000 * (bitrate_kbps or _DEFAULT_KBPS * n_channels))
        codec.flags |= _BITEXACT
        self._n_written, self._closed = 0, False

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append (n, n_channels) floats."""
        if not len(samples):
            return
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T, np.float32), format="fltp", layout=self._layout
        )
        frame.sample_rate, frame.time_base, frame.pts = self._sample_rate, self._unit, self._n_written
        self._n_written += len(samples)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left, and the index; once."""
        if not self._closed:
            self._closed = True
            self._container.mux(self._stream.encode(None))
            self._container.close()
