"""The files that stems are written to: one for each stem, or one with a sound track for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from duetto.audio import AudioReader, AudioWriter
from duetto.audio.encoding import encoder_settings
from duetto.audio.formats import MULTI_TRACK, written_rate
from duetto.audio.multi_track_writer import MultiTrackWriter, Track
from duetto.audio.stem_mp4 import StemMp4Writer
from duetto.audio.tagging import read_tags
from duetto.audio.tags import Tags
from duetto.audio.timeline import timeline_chunks
from duetto.audio.video_writer import video_writer
from duetto.errors import ConfigError


@dataclass(frozen=True)
class Outputs:
    """Where the stems of a song are written.

    Attributes:
        files: What is entered before and left after writing.
        tracks: Stem, "mix" or "mixture" -> what its blocks are written to.
        notes: What a user should know already now.
        resampled: Whether the stems get another sample rate than the song's.
    """

    files: tuple[AudioWriter | MultiTrackWriter, ...]
    tracks: Mapping[str, AudioWriter | Track]
    notes: tuple[str, ...]
    resampled: bool


def stem_outputs(
    targets: Mapping[str, Path] | Mapping[str, BinaryIO],
    tracks: tuple[str, ...],
    *,
    song: AudioReader,
    part: tuple[int, int],
    container: str,
    subtype: str,
    bitrate_kbps: float | None,
    quality: float | None,
) -> Outputs:
    """Prepare the files; nothing is written before they are entered.

    Args:
        targets: Stem -> its file; one file for all where the container has several sound tracks.
        tracks: The stems, or "mix".
        song: The open song.
        part: First sample that is separated, and the one after the last.
        container: A key of `EXTENSIONS`, or one of `MULTI_TRACK`.
        subtype: How its samples are coded.
        bitrate_kbps: Of each track.
        quality: 0 to 10, where the container has one.

    Raises:
        AudioError: The container cannot hold such audio.
        ConfigError: The container has no such bit rate or quality.
    """
    info, content = song.info, song.content
    form = {"sample_rate": info.sample_rate, "n_channels": info.n_channels}
    tags, notes = read_tags(content)
    coded = "M4A" if container in MULTI_TRACK else container
    settings = encoder_settings(coded, **form, bitrate_kbps=bitrate_kbps, quality=quality)
    if container in MULTI_TRACK:
        (path,) = targets.values()
        if not isinstance(path, Path) or (container == "VIDEO" and not isinstance(content, Path)):
            raise ConfigError(
                f"{container} is written from a path and to a path, not from or to file objects"
            )
        if container == "VIDEO":
            assert isinstance(content, Path)
            order = tracks[::-1]  # the accompaniment is what players choose
            file = video_writer(
                path,
                content,
                order,
                audio_track=song.audio_track,
                channel_mask=info.channel_mask,
                bitrate_kbps=bitrate_kbps,
                **form,
            )
        else:
            titled = tags and Tags(
                tags.texts | {"title": tags.texts.get("title") or [song.path.stem]}, tags.pictures
            )
            file = StemMp4Writer(path, **form, bitrate_kbps=bitrate_kbps, tags=titled)
        return Outputs((file,), file.tracks, tuple(notes), file.resampled)
    writers = {
        stem: AudioWriter(
            target,
            **form,
            container=container,
            subtype=subtype,
            n_samples=part[1] - part[0],
            channel_mask=info.channel_mask,
            settings=settings,
            tags=tags and tags.of_stem(stem, song.path.stem),
            chunks=_chunks(content, container, part),
        )
        for stem, target in targets.items()
    }
    resampled = written_rate(subtype, info.sample_rate) != info.sample_rate
    return Outputs(tuple(writers.values()), writers, tuple(notes), resampled)


def _chunks(content: Path | BinaryIO, container: str, part: tuple[int, int]) -> tuple[Any, ...]:
    if container not in ("WAV", "RF64"):
        return ()
    return timeline_chunks(content, start=part[0], stop=part[1])
