"""A video file with other sound: the pictures and subtitles are copied, packet by packet."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

from duetto.audio.ffmpeg import allowed_formats, choose_track, need_av
from duetto.audio.formats import check_holds
from duetto.audio.multi_track_writer import MultiTrackWriter
from duetto.errors import AudioError

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
_CODECS = {"webm": "libopus"}  # all others hold AAC
_LARGEST_GAP = Fraction(1, 50)  # seconds between two packets of sound; Matroska rounds times to 1 ms
_FIXED_FRAMES = {"aac", "ac3", "eac3", "mp2", "mp3"}  # codecs all of whose packets are equally long
_NOT_KEPT = {"encoder", "major_brand", "minor_version", "compatible_brands"}  # of the file that was read


def video_extension(song: Path) -> str:
    """The extension of a video file that is written from `song`: its own where FFmpeg writes it, or .mkv."""
    extension = song.suffix.lower()
    return extension if extension in _MUXERS else ".mkv"


class CopiedPictures:
    """All streams of a video file but its sound.

    Args:
        video: The file.
        audio_track: The sound track that is separated: its number from 1, its language, or None for the one
            that FFmpeg prefers.

    Attributes:
        start: When the first sample of that track is played, in seconds.
        language: Of that track, as the file says.

    Raises:
        AudioError: PyAV is not installed, or the file has no pictures.
    """

    def __init__(self, video: Path, audio_track: int | str | None) -> None:
        self._video, self._track = video, audio_track
        self._av = need_av(video)
        with self._opened() as container:
            covers = self._av.stream.Disposition.attached_pic
            if not any(not stream.disposition & covers for stream in container.streams.video):
                raise AudioError(f"{video} holds no pictures; choose another --format than video")
            sound = choose_track(container, audio_track, str(video))
            self.language = sound.language
            frame = next(container.decode(sound))
            self.start = (frame.pts or 0) * frame.time_base

    def _opened(self) -> Any:
        options = {"protocol_whitelist": "file", "format_whitelist": allowed_formats()}
        return self._av.open(str(self._video), container_options=options, metadata_errors="ignore")

    def attach(self, container: Any) -> None:
        """Add copies of the streams to an output container, with its chapters and what it tells of itself."""
        self._input, self._output = self._opened(), container
        sound = choose_track(self._input, self._track, str(self._video))
        self._copies = {}
        for stream in self._input.streams:
            if stream.type in ("video", "subtitle", "attachment"):
                copy = container.add_stream_from_template(stream)
                copy.disposition = stream.disposition
                copy.metadata.update(stream.metadata)
                self._copies[stream.index] = copy
        container.metadata.update(
            {name: text for name, text in self._input.metadata.items() if name not in _NOT_KEPT}
        )
        if chapters := self._input.chapters():
            container.set_chapters(chapters)
        read = [stream for stream in self._input.streams if stream.index in self._copies]
        self._packets = self._demuxed([*read, sound], sound)
        self._next = next(self._packets, None)

    def _demuxed(self, streams: Sequence[Any], sound: Any) -> Iterator[Any]:
        """The packets that are copied; those of the sound are only looked at, whether one is missing."""
        played_until = None
        with closing(self._input):
            for packet in self._input.demux(streams):
                if packet.stream is not sound:
                    if packet.size:
                        yield packet
                elif packet.pts is not None:
                    begins = packet.pts * packet.time_base
                    if played_until is not None and abs(begins - played_until) > _LARGEST_GAP:
                        raise AudioError(
                            f"{self._video} has a gap in its sound at {float(played_until):.2f} seconds, so "
                            "that stems would be out of time; choose another --format than video"
                        )
                    played_until = begins + _length(packet)

    def copy(self, until: Fraction | None) -> None:
        """Copy the packets up to a time in seconds, or all that are left."""
        while self._next is not None and (until is None or _time(self._next) <= until):
            self._next.stream = self._copies[self._next.stream.index]
            self._output.mux_one(self._next)
            self._next = next(self._packets, None)


def _length(packet: Any) -> Fraction:
    """How long the sound of a packet lasts, in seconds; MP4 counts a gap that follows as part of it."""
    codec = packet.stream.codec_context
    if codec.name in _FIXED_FRAMES:  # Matroska may tell no length; those of all these codecs are near 1536
        return Fraction(codec.frame_size or 1536, codec.sample_rate)
    return (packet.duration or 0) * packet.time_base


def _time(packet: Any) -> Fraction:
    ticks = packet.pts if packet.dts is None else packet.dts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def video_writer(
    path: Path,
    video: Path,
    names: Sequence[str],
    *,
    audio_track: int | str | None,
    sample_rate: int,
    n_channels: int,
    channel_mask: int,
    bitrate_kbps: float | None,
) -> MultiTrackWriter:
    """A copy of a video file with other sound tracks.

    Args:
        path: The file to write; `video_extension` says what its extension should be.
        video: The file whose pictures and subtitles are copied.
        names: The sound tracks, the first being the one that players choose.
        audio_track: The sound track of `video` that is separated, as `AudioReader` chooses it.
        sample_rate: In Hz.
        n_channels: Number of channels.
        channel_mask: Which loudspeakers they are for; 0 if that is not known.
        bitrate_kbps: Of each track; by default 96 per channel.

    Raises:
        AudioError: PyAV is not installed, or `video` has no pictures; once entered, a gap in the sound.
    """
    muxer = _MUXERS[path.suffix.lower()]
    codec = _CODECS.get(muxer, "aac")
    if codec == "aac":
        check_holds("M4A", "AAC", sample_rate, n_channels)
    return MultiTrackWriter(
        path,
        names,
        muxer=muxer,
        codec=codec,
        sample_rate=sample_rate,
        n_channels=n_channels,
        channel_mask=channel_mask,
        bitrate_kbps=bitrate_kbps,
        copied=CopiedPictures(video, audio_track),
    )
