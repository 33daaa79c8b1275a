"""A video file with other sound: the pictures and subtitles are copied, packet by packet."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

from duetto.audio.ffmpeg import need_av
from duetto.audio.multi_track_writer import MultiTrackWriter
from duetto.errors import AudioError

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
_CODECS = {"webm": "libopus"}  # all others hold AAC
_LARGEST_GAP = Fraction(1, 50)  # seconds between two packets of sound; Matroska rounds times to 1 ms
_NOT_KEPT = {"encoder", "major_brand", "minor_version", "compatible_brands"}  # of the file that was read


def video_extension(song: Path) -> str:
    """The extension of a video file that is written from another: its own where that can be written, or .mkv."""
    extension = song.suffix.lower()
    return extension if extension in _MUXERS else ".mkv"


class CopiedPictures:
    """All streams of a video file but its sound.

    Args:
        video: The file.
        track: The index of the sound track that was separated among its sound tracks, from 0.

    Attributes:
        start: When the first sample of that track is played, in seconds.
        language: Of that track, as the file says.

    Raises:
        AudioError: PyAV is not installed, or the file has no pictures.
    """

    def __init__(self, video: Path, track: int) -> None:
        self._video, self._track = video, track
        self._av = need_av(video)
        with self._opened() as container:
            covers = self._av.stream.Disposition.attached_pic
            if not any(not stream.disposition & covers for stream in container.streams.video):
                raise AudioError(f"{video} holds no pictures; choose another --format than video")
            sound = container.streams.audio[track]
            self.language = sound.language
            frame = next(container.decode(sound))
            self.start = (frame.pts or 0) * frame.time_base

    def _opened(self) -> Any:
        return self._av.open(
            str(self._video), container_options={"protocol_whitelist": "file"}, metadata_errors="ignore"
        )

    def attach(self, container: Any) -> None:
        """Add copies of the streams to an output container, with its chapters and what it tells of itself."""
        self._input, self._output = self._opened(), container
        sound = self._input.streams.audio[self._track]
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
                    if (
                        played_until is not None
                        and abs(packet.pts - played_until) * packet.time_base > _LARGEST_GAP
                    ):
                        seconds = float(played_until * packet.time_base)
                        raise AudioError(
                            f"{self._video}: its sound track has a gap at {seconds:.2f} seconds, so that its stems "
                            "would be out of time with the pictures; choose another --format than video"
                        )
                    played_until = packet.pts + packet.duration if packet.duration else None

    def copy(self, until: Fraction | None) -> None:
        """Copy the packets up to a time in seconds, or all that are left."""
        while self._next is not None and (until is None or _time(self._next) <= until):
            self._next.stream = self._copies[self._next.stream.index]
            self._output.mux_one(self._next)
            self._next = next(self._packets, None)


def _time(packet: Any) -> Fraction:
    ticks = packet.pts if packet.dts is None else packet.dts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def video_writer(
    path: Path,
    video: Path,
    names: Sequence[str],
    *,
    track: int,
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
        track: The index of the sound track that was separated among those of `video`, from 0.
        sample_rate: In Hz.
        n_channels: Number of channels.
        channel_mask: Which loudspeakers they are for; 0 if that is not known.
        bitrate_kbps: Of each track; by default 96 per channel.

    Raises:
        AudioError: PyAV is not installed, or `video` has no pictures; once entered, a gap in the sound.
    """
    muxer = _MUXERS[path.suffix.lower()]
    return MultiTrackWriter(
        path,
        names,
        muxer=muxer,
        codec=_CODECS.get(muxer, "aac"),
        sample_rate=sample_rate,
        n_channels=n_channels,
        channel_mask=channel_mask,
        bitrate_kbps=bitrate_kbps,
        copied=CopiedPictures(video, track),
    )
