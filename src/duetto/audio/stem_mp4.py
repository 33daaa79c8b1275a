"""Files in the Stem format of Native Instruments: a song and its stems as the sound tracks of one MP4.

DJ software (Traktor, Mixxx) mixes the stems; other players play the first track, the song. The software wants
four stereo stems, so that two of a file with vocals and accompaniment are silent. JSON in the box
moov/udta/stem says what the tracks are.
"""

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from duetto.audio.ffmpeg import need_av
from duetto.audio.formats import check_holds
from duetto.audio.multi_track_writer import MultiTrackWriter
from duetto.audio.tagging import basic_texts, write_tags
from duetto.audio.tags import Tags
from duetto.errors import AudioError

SILENT = ("silence", "silence (2)")
TRACKS = ("mixture", "vocals", "accompaniment", *SILENT)
"""The sound tracks of a file, in their order."""

_MUSDB18 = ("drums", "bass", "other", "vocals")  # in files whose tracks have no names

_COLOURS = {"vocals": "#D55E00", "accompaniment": "#0072B2", SILENT[0]: "#999999", SILENT[1]: "#999999"}
# Effects on the sum of the stems that stand in for mastering; they are off, since the stems sum to the song.
_NO_MASTERING = {
    "compressor": {
        "enabled": False, "ratio": 1.0, "attack": 0.003, "release": 0.3, "threshold": 0.0, "hp_cutoff": 20,
        "input_gain": 0.0, "output_gain": 0.0, "dry_wet": 0,
    },
    "limiter": {"enabled": False, "release": 0.3, "threshold": 0.0, "ceiling": 0.0},
}  # fmt: skip


class StemMp4Writer(MultiTrackWriter):
    """A file of the Stem format that appears whole or not at all.

    Args:
        path: The file to write, whose name should end in .stem.mp4.
        sample_rate: In Hz.
        n_channels: Of the song: 2, or 1, which becomes two equal ones.
        bitrate_kbps: Of each track; by default 192.
        tags: What the file tells of the song.

    Attributes:
        tracks: "mixture", "vocals" and "accompaniment", to write to in turn.

    Raises:
        AudioError: More than two channels, or PyAV is missing; once entered, the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int,
        n_channels: int,
        bitrate_kbps: float | None = None,
        tags: Tags | None = None,
    ) -> None:
        if n_channels > 2:
            raise AudioError(f"{path}: a stem.mp4 file has stereo tracks, the song has {n_channels} channels")
        check_holds("M4A", "AAC", sample_rate, 2)
        texts, notes = basic_texts("M4A", tags, name=path)
        super().__init__(
            path,
            TRACKS,
            muxer="mp4",
            codec="aac",
            sample_rate=sample_rate,
            n_channels=2,
            bitrate_kbps=bitrate_kbps,
            texts=texts,
            finish=lambda part: _finish(part, tags, path),
        )
        self.notes += notes
        self.tracks = {name: track for name, track in self.tracks.items() if name not in SILENT}

    def _write(self, name: str, block: NDArray[Any]) -> None:
        super()._write(name, np.broadcast_to(block, (2, block.shape[1])))
        if name == TRACKS[0]:
            for silent in SILENT:
                super()._write(silent, np.zeros((2, block.shape[1]), np.float32))


def stem_names(path: Path) -> list[str]:
    """The names of the stems of a file, in the order of its sound tracks after the first, the mixture.

    The JSON of the Stem format names them, or else the titles of the tracks; four stems without names are
    those of MUSDB18.

    Raises:
        AudioError: The file cannot be read, does not name its stems, or its tracks differ in sample rate or
            channels.
    """
    av = need_av(path)
    try:
        with av.open(str(path), format="mp4") as file:
            tracks = [
                (track.metadata.get("handler_name", ""), track.codec_context) for track in file.streams.audio
            ]
            forms = sorted(
                {f"{codec.layout.nb_channels} channel(s) at {codec.sample_rate} Hz" for _, codec in tracks}
            )
        names = _read_names(path)
    except (av.FFmpegError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AudioError(f"{path} cannot be read as a stem.mp4 file: {error}; give a whole file") from error
    if len(forms) > 1:
        raise AudioError(f"{path}: tracks of a stem.mp4 file are alike, but these have {' and '.join(forms)}")
    titles = [title for title, _ in tracks[1:]]
    if not names:
        names = list(_MUSDB18) if len(titles) == len(_MUSDB18) and len(set(titles)) == 1 else titles
    if len(names) != len(titles):
        raise AudioError(
            f"{path} names {len(names)} stems, but has {len(titles)} sound tracks after the mixture"
        )
    return names


def _read_names(path: Path) -> list[str]:
    """The names in the box moov/udta/stem; none where there is no such box."""
    with path.open("rb") as file:
        file.seek(_index_start(file))
        content = file.read()
    for name in (b"udta", b"stem"):
        place = _find_box(content, name)
        if place < 0:
            return []
        content = content[place : place + int.from_bytes(content[place : place + 4], "big")]
    return [stem["name"] for stem in json.loads(content[8:])["stems"]]


def _finish(path: Path, tags: Tags | None, name: Path) -> list[str]:
    notes = write_tags(path, "M4A", tags, name=name)
    _add_stem_box(path)
    return notes


def _add_stem_box(path: Path) -> None:
    """Say what the tracks are, in a box at the end of the file, so that nothing else moves."""
    stems = [{"name": name.capitalize(), "color": colour} for name, colour in _COLOURS.items()]
    content = json.dumps({"mastering_dsp": _NO_MASTERING, "version": 1, "stems": stems}).encode("ascii")
    box = _box(b"stem", content)
    with path.open("r+b") as file:
        start = _index_start(file)
        file.seek(start)
        index = file.read()
        place = _find_box(index, b"udta")
        if place < 0:
            index += _box(b"udta", box)
        else:
            size = int.from_bytes(index[place : place + 4], "big")
            whole = _box(b"udta", index[place + 8 : place + size] + box)
            index = index[:place] + whole + index[place + size :]
        file.seek(start)
        file.write(_box(b"moov", index[8:]))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _index_start(file: BinaryIO) -> int:
    """Where the box moov begins, which FFmpeg writes last."""
    place = 0
    while len(header := file.read(16)) >= 8:
        size, name, long_size = struct.unpack(">I4sQ", header.ljust(16, b"\0"))
        if name == b"moov":
            break
        place += long_size if size == 1 else size
        file.seek(place)
    return place


def _find_box(index: bytes, name: bytes) -> int:
    """Where a box directly inside moov begins; -1 where there is none."""
    place = 8
    while place + 8 <= len(index):
        size, found = struct.unpack_from(">I4s", index, place)
        if found == name:
            return place
        if size < 8:  # damaged, or the last
            break
        place += size
    return -1
