"""Tags read from a song and written to its stems, by mutagen or, where that is not installed, libsndfile."""

import io
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import soundfile

from duetto.audio import libsndfile
from duetto.audio.input_file import FileView
from duetto.audio.parts import NotDecodedError, find_parts
from duetto.audio.tags import BASIC, Tags

NO_MUTAGEN = (
    "title, artist, album, date, track number, genre and comment are carried to the stems; for covers, lyrics"
    " and all other tags run pip install mutagen"
)
"""The note on what the extra `tags` would add: always the same, so that a run can say it once."""

_ID3V1_BYTES = 128
_BASIC_BY_CONTAINER = {"AIFF": ("title", "artist", "comment"), "W64": ()}


def mutagen_tags() -> ModuleType | None:
    """The module that works with mutagen, or None where that is not installed."""
    try:
        from duetto.audio import mutagen_tags as module
    except ModuleNotFoundError:
        return None
    return module


def read_tags(song: Path | BinaryIO) -> tuple[Tags | None, list[str]]:
    """The tags of a song that its stems get, or None, and notes on what could not be read."""
    module = mutagen_tags()
    try:
        tags = module.read(song).carried if module else None
    except Exception as error:  # noqa: BLE001 - of damaged tags mutagen raises IndexError and others as well
        return None, [f"the tags of {song} cannot be read and are left out: {error or type(error).__name__}"]
    tags = tags or _read_basic(song)
    if not tags:
        return None, []
    return tags, [] if module else [NO_MUTAGEN]


def _read_basic(song: Path | BinaryIO) -> Tags:
    """The tags that libsndfile knows; none where it cannot read the file."""
    with ExitStack() as stack, suppress(soundfile.LibsndfileError, NotDecodedError):
        file = stack.enter_context(song.open("rb")) if isinstance(song, Path) else song
        sound = stack.enter_context(libsndfile.Sequential(_first_part(file)))
        return Tags({name: [text] for name in BASIC if (text := getattr(sound, name).strip())})
    return Tags({})


def _first_part(file: BinaryIO) -> FileView:
    """A file's first part with what is before it and its ID3v1 tag; libsndfile would complain of all else."""
    parts = find_parts(file)
    first, end = parts[0], parts[-1].extents[-1][1]
    size = file.seek(0, io.SEEK_END)
    file.seek(max(end, size - _ID3V1_BYTES))
    tag = ((size - _ID3V1_BYTES, size),) if file.read(3) == b"TAG" else ()
    return FileView(file, ((0, first.extents[0][0]), *first.extents, *tag), first.patches)


def basic_texts(container: str, tags: Tags | None, *, name: Path) -> tuple[dict[str, str], list[str]]:
    """What an encoder gets to write, where mutagen is not installed; and notes on what it cannot.

    Args:
        container: A key of `EXTENSIONS`.
        tags: What is to be written.
        name: What the notes call the file.
    """
    if not tags or mutagen_tags():
        return {}, []
    held = _BASIC_BY_CONTAINER.get(container, BASIC)
    if not held:
        return {}, [_cannot_hold(name, container)]
    texts = {key: "; ".join(tags.texts[key]) for key in held if key in tags.texts}
    if container != "MP3":
        return texts, []
    notes = []
    for key in [key for key, text in texts.items() if not _is_latin(text)]:
        del texts[key]
        notes.append(f"{name} carries no {key}, which needs pip install mutagen")
    return texts, notes


def _is_latin(text: str) -> bool:
    """Whether the tag of an MP3 can hold a text, as libsndfile writes it."""
    return all(ord(character) < 256 for character in text)


def write_tags(path: Path, container: str, tags: Tags | None, *, name: Path) -> list[str]:
    """Write tags into a finished file with mutagen, where that is installed; its audio stays as it is.

    Returns:
        Notes on what could not be written.

    Raises:
        OSError: The disk is full.
    """
    module = mutagen_tags()
    if not tags or module is None:
        return []
    if container in ("W64", "RF64"):
        return [_cannot_hold(name, container)]
    try:
        module.write(path, container, tags)
    except module.MutagenError as error:
        return [f"{name} carries no tags: {error}"]
    return []


def _cannot_hold(name: Path, container: str) -> str:
    return f"{name} carries no tags, since {container} cannot hold them"
