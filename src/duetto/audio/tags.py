"""Tags and cover art carried from a song to its stems, as far as their formats can hold them."""

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mutagen
from mutagen import id3
from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, AtomDataType, MP4Cover, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

# Vorbis comment: ID3 frame, MP4 atom
_NAMES = {
    "title": ("TIT2", "\xa9nam"),
    "artist": ("TPE1", "\xa9ART"),
    "album": ("TALB", "\xa9alb"),
    "albumartist": ("TPE2", "aART"),
    "composer": ("TCOM", "\xa9wrt"),
    "conductor": ("TPE3", None),
    "lyricist": ("TEXT", None),
    "remixer": ("TPE4", None),
    "genre": ("TCON", "\xa9gen"),
    "date": ("TDRC", "\xa9day"),
    "tracknumber": ("TRCK", "trkn"),
    "discnumber": ("TPOS", "disk"),
    "bpm": ("TBPM", "tmpo"),
    "initialkey": ("TKEY", None),
    "grouping": ("TIT1", "\xa9grp"),
    "subtitle": ("TIT3", None),
    "copyright": ("TCOP", "cprt"),
    "organization": ("TPUB", None),
    "language": ("TLAN", None),
    "isrc": ("TSRC", None),
    "comment": ("COMM", "\xa9cmt"),
    "lyrics": ("USLT", "\xa9lyr"),
}
_BY_FRAME = {frame: name for name, (frame, _) in _NAMES.items()}
_BY_ATOM = {atom: name for name, (_, atom) in _NAMES.items() if atom}
# Of the song alone: its loudness, its encoder's gaps and version, its fingerprint, its index.
_NOT_CARRIED = ("replaygain", "r128_", "itun", "encod", "acoustid", "cuesheet", "metadata_block_picture")
_FREEFORM = "----:com.apple.iTunes:"
_COVERS = {"image/jpeg": MP4Cover.FORMAT_JPEG, "image/png": MP4Cover.FORMAT_PNG}
_FILES = {
    "FLAC": FLAC, "OGG": OggVorbis, "OPUS": OggOpus, "MP3": MP3, "M4A": MP4, "WAV": WAVE, "AIFF": AIFF,
}  # fmt: skip


@dataclass(frozen=True)
class Tags:
    """What a file says of its song.

    Attributes:
        texts: values by name, as Vorbis comments name them.
        pictures: cover art.
    """

    texts: dict[str, list[str]]
    pictures: tuple[Picture, ...] = ()

    def of_stem(self, stem: str, track: str) -> "Tags":
        """The tags of a stem: its title says which one it is.

        Args:
            stem: "vocals", "accompaniment" or "mix".
            track: the title of a song that has none.
        """
        titles = self.texts.get("title") or [track]
        return replace(self, texts=self.texts | {"title": [f"{title} ({stem})" for title in titles]})


def read_tags(path: Path) -> tuple[Tags | None, list[str]]:
    """The tags of a file, or None, and notes on what could not be read; nothing is raised."""
    try:
        file = mutagen.File(path)
        if file is None or not file.tags:
            return None, []
        texts = _texts(file)
        pictures = tuple(_pictures(file))
    except Exception as error:  # noqa: BLE001 (a broken tag shall never stop a separation)
        return None, [f"the tags of {path} cannot be read and are left out: {error or type(error).__name__}"]
    carried = {name: values for name, values in texts.items() if values and not name.startswith(_NOT_CARRIED)}
    return (Tags(carried, pictures), []) if carried or pictures else (None, [])


def write_tags(path: Path, container: str, tags: Tags, *, name: Path) -> list[str]:
    """Write tags into a finished file, whose audio stays as it is.

    Args:
        path: the file.
        container: what it is, a key of `EXTENSIONS`.
        tags: what is written.
        name: what the notes call it.

    Returns:
        Notes on what could not be written.

    Raises:
        OSError: the disk is full.
    """
    kind = _FILES.get(container)
    if kind is None:
        return [f"{name} carries no tags, since {container} cannot hold them"]
    try:
        file = kind(path)
        if kind in (FLAC, OggVorbis, OggOpus):
            _fill_vorbis(file, tags)
        elif kind is MP4:
            _fill_mp4(file, tags)
        else:
            _fill_id3(file, tags)
        file.save()
    except mutagen.MutagenError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError):
            raise cause from error
        return [f"{name} carries no tags: {error}"]
    return []


def _texts(file: Any) -> dict[str, list[str]]:
    tags = file.tags
    if isinstance(tags, id3.ID3Tags):
        return _texts_of_id3(tags)
    if isinstance(file, MP4):
        return _texts_of_mp4(tags)
    texts: dict[str, list[str]] = {}
    for name, value in tags.items():  # Vorbis comments, ASF
        values = value if isinstance(value, list) else [value]
        texts.setdefault(_ASF.get(name, name).lower(), []).extend(_plain(each) for each in values)
    return texts


_ASF = {
    "Title": "title", "Author": "artist", "WM/AlbumTitle": "album", "WM/AlbumArtist": "albumartist",
    "WM/Composer": "composer", "WM/Genre": "genre", "WM/Year": "date", "WM/TrackNumber": "tracknumber",
    "Copyright": "copyright", "Description": "comment", "WM/ISRC": "isrc", "WM/Lyrics": "lyrics",
}  # fmt: skip


def _plain(value: Any) -> str:
    return str(value).replace("\0", " ")


def _texts_of_id3(tags: Any) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for frame in tags.values():
        key = frame.FrameID
        if key == "TXXX":
            name, values = frame.desc.lower(), frame.text
        elif key == "USLT":
            name, values = "lyrics", [frame.text]
        elif key == "COMM" and frame.desc:  # programs keep their own data in comments that have a name
            continue
        elif key in _BY_FRAME:
            name, values = _BY_FRAME[key], frame.genres if key == "TCON" else frame.text
        else:
            continue
        if name:
            texts.setdefault(name, []).extend(_plain(value) for value in values)
    return texts


def _texts_of_mp4(tags: Any) -> dict[str, list[str]]:
    texts = {}
    for atom, values in tags.items():
        if atom in ("trkn", "disk"):
            texts[_BY_ATOM[atom]] = [f"{n}/{of}" if of else str(n) for n, of in values if n]
        elif atom in _BY_ATOM:
            texts[_BY_ATOM[atom]] = [_plain(value) for value in values]
        elif atom.startswith("----:"):
            texts[atom.rpartition(":")[2].lower()] = [
                bytes(value).decode("utf-8", "replace") for value in values
            ]
    return texts


def _pictures(file: Any) -> Iterable[Picture]:
    if isinstance(file, FLAC):
        yield from file.pictures
    elif isinstance(file.tags, id3.ID3Tags):
        for frame in file.tags.getall("APIC"):
            yield _picture(frame.data, frame.mime, int(frame.type), frame.desc)
    elif isinstance(file, MP4):
        for cover in file.tags.get("covr", []):
            png = cover.imageformat == AtomDataType.PNG
            yield _picture(bytes(cover), "image/png" if png else "image/jpeg", 3, "")
    else:
        for text in file.tags.get("metadata_block_picture", []):
            with suppress(binascii.Error, mutagen.MutagenError):
                yield Picture(base64.b64decode(str(text)))


def _picture(data: bytes, mime: str, kind: int, description: str) -> Picture:
    picture = Picture()
    picture.data, picture.mime, picture.type, picture.desc = data, mime, kind, description
    return picture


def _fill_vorbis(file: Any, tags: Tags) -> None:
    for name, values in tags.texts.items():
        with suppress(ValueError):  # a name that Vorbis comments cannot have
            file[name] = values
    if isinstance(file, FLAC):
        for picture in tags.pictures:
            file.add_picture(picture)
    elif tags.pictures:
        blocks = [base64.b64encode(picture.write()).decode() for picture in tags.pictures]
        file["metadata_block_picture"] = blocks


def _fill_id3(file: Any, tags: Tags) -> None:
    if file.tags is None:
        file.add_tags()
    for name, values in tags.texts.items():
        key = _NAMES.get(name, ("TXXX",))[0]
        options = {"encoding": 3, "text": values}
        if key == "TXXX":
            options["desc"] = name
        elif key == "COMM":
            options |= {"lang": "XXX", "desc": ""}
        elif key == "USLT":
            options |= {"lang": "XXX", "desc": "", "text": "\n".join(values)}
        file.tags.add(getattr(id3, key)(**options))
    for index, picture in enumerate(tags.pictures):
        description = picture.desc or (str(index) if index else "")  # two without a name would be one
        file.tags.add(
            id3.APIC(encoding=3, mime=picture.mime, type=picture.type, desc=description, data=picture.data)
        )


def _fill_mp4(file: Any, tags: Tags) -> None:
    if file.tags is None:
        file.add_tags()
    for name, values in tags.texts.items():
        atom = _NAMES.get(name, ("", None))[1]
        if atom in ("trkn", "disk"):
            with suppress(ValueError):
                number, _, total = values[0].partition("/")
                file[atom] = [(int(number), int(total or 0))]
        elif atom == "tmpo":
            with suppress(ValueError):
                file[atom] = [round(float(values[0]))]
        elif atom:
            file[atom] = values
        else:
            file[_FREEFORM + name] = [MP4FreeForm(value.encode()) for value in values]
    covers = [
        MP4Cover(picture.data, _COVERS[picture.mime]) for picture in tags.pictures if picture.mime in _COVERS
    ]
    if covers:
        file["covr"] = covers
