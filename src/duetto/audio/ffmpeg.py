"""What FFmpeg reads and writes, through PyAV, where libsndfile cannot: films, M4A, WMA, AC-3 and more."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio.channels import plain_mask
from duetto.audio.formats import AudioInfo
from duetto.audio.input_file import InputFile
from duetto.audio.waveform import check_n_channels, check_sample_rate
from duetto.audio.whole_file import check_whole
from duetto.errors import AudioError

_CONTAINERS = {"mov": "MP4", "aac": "ADTS", "mpegts": "MPEG-TS", "ogg": "OGG FLAC"}  # by FFmpeg's names
_SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL",
    "TBC", "TBR",
)  # fmt: skip
_BITS = {name: 1 << bit for bit, name in enumerate(_SPEAKERS)}  # as in a channel mask of WAV
_MOST_PLANES = 7  # PyAV reads beyond the list of planes where there are 8 or more
_REFERRING = frozenset({
    "concat", "dash", "ffmetadata", "hls", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vapoursynth",
    "webm_dash_manifest",
})  # fmt: skip
"""Formats that make FFmpeg open other files or addresses."""

_RAW = frozenset({"mp3"})  # read by libsndfile, and found by FFmpeg in noise
_PRIMING = 2112  # samples that an encoder may put first; the stated duration of a track may count them
_ESTIMATING = ("avi", "voc")  # formats that count in samples, but only roughly
_STATING = ("matroska", "asf", "avi")  # formats whose header states how long the longest track lasts
_SECOND = 1_000_000  # FFmpeg's unit of a container's duration


@cache
def allowed_formats() -> str:
    """All formats that FFmpeg reads but playlists, pictures and devices, so that it opens no other file."""
    import av

    names = []
    for name in av.formats_available:
        if name in _REFERRING or name in _RAW or "pipe" in name or name.startswith("image2"):
            continue
        try:
            form = av.ContainerFormat(name, "r")
        except ValueError:  # only written
            continue
        if not form.no_file:
            names.append(name)
    return ",".join(names)


def need_av(path: Path) -> Any:
    """The module av.

    Raises:
        AudioError: It is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise AudioError(f"{path} needs FFmpeg, which is not installed; run pip install av") from error
    return av


class Source:
    """The sound of a file that FFmpeg decodes.

    Args:
        file: The file.
        reason: What it is, where that is known of a file that libsndfile cannot decode; else empty.
        audio_track: The sound track: its number from 1, or its language; by default FFmpeg chooses.

    Attributes:
        info: Its audio; the length is counted by decoding, since most of these files only estimate it.

    Raises:
        AudioError: It is damaged, cut off, no audio file or without such a sound track, or PyAV is missing.
    """

    def __init__(self, file: InputFile, reason: str, audio_track: int | str | None = None) -> None:
        self._file, self._track = file, audio_track
        try:
            import av
        except ModuleNotFoundError as error:
            what = f"is {reason} and" if reason else "is either not an audio file or"
            raise AudioError(
                f"{file.name} {what} needs FFmpeg, which is not installed; run pip install av"
            ) from error
        self._av = av
        with self._opened() as (container, stream):
            codec = stream.codec_context
            if codec is None or codec.format is None:
                raise AudioError(
                    f"{file.name} holds sound of an unknown codec, or is truncated or damaged; "
                    "give a whole file, or convert it to WAV"
                )
            sample_rate = check_sample_rate(codec.sample_rate, file.name)
            name = container.format.name.split(",")[0]
            n_channels = codec.layout.nb_channels
            check_n_channels(n_channels, file.name)
            mask, self._order = _places(codec.layout)
            self.info = AudioInfo(
                sample_rate,
                n_channels,
                0,
                _CONTAINERS.get(name, name.upper()),
                _subtype(codec),
                plain_mask(mask, n_channels),
            )
            stated = _stated_samples(container, stream)
        self._n_samples = self._length(stated)
        self.info = replace(self.info, n_samples=self._n_samples)

    def decode(self, n_samples: int) -> Generator[NDArray[Any]]:
        """Read (n, n_channels) arrays, each a frame of the codec; integers fill 32 bits from the left."""
        left = self._n_samples
        for samples in self._frames():
            yield samples[:left]
            left -= len(samples[:left])

    def _length(self, stated: tuple[int, bool]) -> int:
        """How many of the samples that decode are the song's."""
        n_decoded = longest = 0
        for samples in self._frames():
            n_decoded, longest = n_decoded + len(samples), max(longest, len(samples))
        n_stated, exact = stated
        slack = longest + _PRIMING if self.info.lossy else 0
        if not exact:
            slack += self.info.sample_rate
        if n_stated - n_decoded > slack:
            counts = f"its header promises {n_stated} samples, {n_decoded} are there"
            raise AudioError(f"{self._file.name} is truncated: {counts}; get a whole copy of it")
        # The last packet of a track may hold more than the track. A stated length that leaves out more than a
        # packet is wrong.
        return n_stated if exact and 0 < n_decoded - n_stated < longest and n_stated else n_decoded

    def _frames(self) -> Iterator[NDArray[Any]]:
        n_read, n_channels = 0, self.info.n_channels
        resampler = None
        with self._opened() as (container, stream):
            for frame in container.decode(stream):
                if frame.sample_rate != self.info.sample_rate or frame.layout.nb_channels != n_channels:
                    got = f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz"
                    raise AudioError(
                        f"{self._file.name} changes to {got} at sample {n_read}; convert it to WAV"
                    )
                if frame.format.is_planar and n_channels > _MOST_PLANES:
                    resampler = resampler or self._av.AudioResampler(format=frame.format.packed.name)
                    packed = resampler.resample(frame)
                else:
                    packed = [frame]
                for each in packed:
                    samples = _native(each)
                    n_read += len(samples)
                    yield samples if self._order is None else samples[:, self._order]

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        options = {"protocol_whitelist": "none", "format_whitelist": allowed_formats()}
        with self._file.opened() as binary:
            check_whole(self._file, binary)
            try:
                container = self._av.open(binary, container_options=options, metadata_errors="ignore")
            except (self._av.FFmpegError, ValueError, IndexError) as error:
                raise AudioError(
                    f"{self._file.name} is not an audio file, or it is truncated or damaged "
                    f"({_words(error)}); give a whole file with audio in it"
                ) from error
            try:
                with container:
                    yield container, choose_track(container, self._track, self._file.name)
            except (self._av.FFmpegError, ValueError, IndexError) as error:
                raise AudioError(
                    f"{self._file.name} is truncated or damaged, or its codec is unknown: {_words(error)}"
                ) from error


def choose_track(container: Any, wanted: int | str | None, name: str) -> Any:
    """The sound track of an open file that is wanted: its number from 1, its language, or None for the best.

    Raises:
        AudioError: The file, which is called `name`, has no such track.
    """
    tracks = container.streams.audio
    if not tracks:
        raise AudioError(f"{name} holds no sound; give a file with audio in it")
    if wanted is None:
        return container.streams.best("audio") or tracks[0]
    for number, track in enumerate(tracks, 1):
        if wanted == number or str(wanted).lower() == (track.language or "").lower():
            return track
    listed = ", ".join(f"{number} ({_described(track)})" for number, track in enumerate(tracks, 1))
    raise AudioError(f"{name} has no sound track {wanted!r}; it has {listed}")


def _described(track: Any) -> str:
    language = track.language if track.language not in (None, "", "und") else "no language"
    codec = track.codec_context
    return f"{language}, {codec.name}, {codec.layout.nb_channels} channels" if codec else language


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _stated_samples(container: Any, stream: Any) -> tuple[int, bool]:
    """How many samples the header states, 0 where it states none, and whether it counts in samples."""
    rate = stream.codec_context.sample_rate
    counts = stream.time_base == Fraction(1, rate) and container.format.name not in _ESTIMATING
    if stream.duration and counts:
        return stream.duration, True
    seconds = _seconds(stream.metadata.get("DURATION", ""))
    states_all = container.format.name.startswith(_STATING) and len(container.streams) == 1
    if states_all and not seconds:
        seconds = (container.duration or 0) / _SECOND
    return round(seconds * rate), False


def _seconds(text: str) -> float:
    """The seconds of a duration such as "00:03:25.120000000"; 0 where it is none."""
    try:
        hours, minutes, seconds = map(float, text.split(":"))
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def _places(layout: Any) -> tuple[int, tuple[int, ...] | None]:
    """The channel mask of a layout, and the order of its channels in WAV if it is not theirs."""
    bits = [_BITS.get(channel.name, 0) for channel in layout.channels]
    if len(set(bits)) < layout.nb_channels or 0 in bits:
        return 0, None
    order = tuple(int(k) for k in np.argsort(bits))
    return sum(bits), None if order == tuple(range(len(bits))) else order


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
