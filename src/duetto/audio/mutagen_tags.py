"""All tags and covers of every container, through mutagen (GPL), which the extra `tags` installs."""

import base64
import binascii
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import mutagen
from mutagen import MutagenError, id3
from mutagen.aiff import AIFF
from mutagen.flac import FLAC
from mutagen.flac import Picture as FlacPicture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, AtomDataType, MP4Cover, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from duetto.audio.tags import Picture, Tags

__all__ = ["MutagenError", "read", "write"]

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
_FREEFORM = "----:com.apple.iTunes:"
_COVERS = {"image/jpeg": MP4Cover.FORMAT_JPEG, "image/png": MP4Cover.FORMAT_PNG}
_FILES = {
    "FLAC": FLAC, "OGG": OggVorbis, "OPUS": OggOpus, "MP3": MP3, "M4A": MP4, "WAV": WAVE, "AIFF": AIFF,
}  # fmt: skip


def read(file: Path | BinaryIO) -> Tags:
    """All tags of a file, those that no stem gets as well; none where it has none.

    Raises:
        Exception: Whatever mutagen stumbles over in damaged tags.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(file.open("rb")) if isinstance(file, Path) else file
        opened.seek(0)
        magic = opened.read(4)
        if magic in (b"RF64", b"BW64"):  # unknown to mutagen
            return Tags({})
        opened.seek(0)
        # mutagen goes by the name first, which may be that of another format
        kinds = [FLAC] if magic == b"fLaC" else None
        found = mutagen.File(file, options=kinds)
    if found is None or not found.tags:
        return Tags({})
    return Tags(_texts(found), tuple(_pictures(found)))


def write(path: Path, container: str, tags: Tags) -> None:
    """Write tags into a finished file, whose audio stays as it is.

    Args:
        path: The file.
        container: What it is, a key of `EXTENSIONS`, other than W64 and RF64.
        tags: What is written.

    Raises:
        MutagenError: The file cannot take the tags.
        OSError: The disk is full.
    """
    kind = _FILES[container]
    try:
        file = kind(path)
        if kind in (FLAC, OggVorbis, OggOpus):
            _fill_vorbis(file, tags)
        elif kind is MP4:
            _fill_mp4(file, tags)
        else:
            _fill_id3(file, tags)
        file.save()
    except MutagenError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError):
            raise cause from error
        raise


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
        for picture in file.pictures:
            yield Picture(picture.data, picture.mime, picture.type, picture.desc)
    elif isinstance(file.tags, id3.ID3Tags):
        for frame in file.tags.getall("APIC"):
            yield Picture(frame.data, frame.mime, int(frame.type), frame.desc)
    elif isinstance(file, MP4):
        for cover in file.tags.get("covr", []):
            png = cover.imageformat == AtomDataType.PNG
            yield Picture(bytes(cover), "image/png" if png else "image/jpeg", 3, "")
    else:
        for text in file.tags.get("metadata_block_picture", []):
            with suppress(binascii.Error, MutagenError):
                picture = FlacPicture(base64.b64decode(str(text)))
                yield Picture(picture.data, picture.mime, picture.type, picture.desc)


def _flac_picture(picture: Picture) -> FlacPicture:
    made = FlacPicture()
    made.data, made.mime, made.type, made.desc = picture.data, picture.mime, picture.kind, picture.description
    return made


def _fill_vorbis(file: Any, tags: Tags) -> None:
    for name, values in tags.texts.items():
        with suppress(ValueError):  # a name that Vorbis comments cannot have
            file[name] = values
    if isinstance(file, FLAC):
        for picture in tags.pictures:
            file.add_picture(_flac_picture(picture))
    elif tags.pictures:
        blocks = [base64.b64encode(_flac_picture(picture).write()).decode() for picture in tags.pictures]
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
        description = picture.description or (str(index) if index else "")  # two without a name would be one
        file.tags.add(
            id3.APIC(encoding=3, mime=picture.mime, type=picture.kind, desc=description, data=picture.data)
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
