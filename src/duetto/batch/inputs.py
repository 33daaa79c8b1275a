"""Which songs a batch holds: files, folders, patterns, playlists and tables become a list of `Song`."""

import codecs
import csv
import fnmatch
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from string import Formatter
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from duetto.audio.formats import AUDIO_SUFFIXES
from duetto.batch import storage
from duetto.errors import ConfigError

_RESERVED = ("model", "stem", "ext")


class Song(NamedTuple):
    """One song of a batch.

    Attributes:
        name: path or URL, as it was given.
        parent: its folder below the folder, pattern or list that named it, with slashes; may be "".
        fields: values for the template, as (field, value): a table's other columns.
        problem: why it cannot be separated, known before it is opened; such a song fails, the others do not.
    """

    name: str
    parent: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        """Its name in a manifest: the same from every working directory."""
        return storage.absolute(self.name)

    def fill(self, template: str) -> str:
        """The template with the fields that are known before the song is opened filled in."""
        fields = {"parent": self.parent, "name": PurePath(self.name).name, **dict(self.fields)}
        parts = []
        try:
            for text, field, form, conversion in Formatter().parse(template):
                parts.append(text.replace("{", "{{").replace("}", "}}"))
                if field in fields:
                    value = format(fields[field], form or "")
                    parts.append(value.replace("{", "{{").replace("}", "}}"))
                elif field is not None:
                    parts.append(f"{{{field}{f'!{conversion}' * bool(conversion)}{f':{form}' * bool(form)}}}")
        except ValueError as error:
            raise ConfigError(
                f"template {template!r}: {error}; write fields in braces, such as {{track}}"
            ) from error
        return "".join(parts)


def find_songs(names: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], out: str) -> list[Song]:
    """The songs behind names, in the order of the names, each once.

    A name with nothing behind it, and a folder that cannot be listed, become a `Song` with a problem.

    Args:
        names: one name or several: files; folders, with all below them; patterns (`**` goes down); playlists
            (.m3u, .m3u8); tables (.csv, .tsv) with a column `path`, or the path in the first. Any may be a
            URL, except for playlists and tables.
        out: the output folder; files in it are not songs unless they are named.

    Raises:
        ConfigError: a playlist or table that cannot be read, or a folder that is the output folder.
    """
    songs: dict[str, Song] = {}
    for name in [names] if isinstance(names, str | os.PathLike) else names:
        for song in _expand(storage.without_scheme(os.fspath(name)), Path(out).resolve()):
            songs.setdefault(song.key, song)
    return _with_own_names(songs.values())


def _with_own_names(songs: Iterable[Song]) -> list[Song]:
    """Where files of one folder differ in their extension alone, `{track}` is the name with it."""
    songs = list(songs)
    n_alike = Counter(_without_extension(song) for song in songs)
    return [
        song._replace(fields=(("track", PurePath(song.name).name), *song.fields))
        if n_alike[_without_extension(song)] > 1
        else song
        for song in songs
    ]


def _without_extension(song: Song) -> int:
    return hash(os.path.splitext(song.key)[0])  # noqa: PTH122 - a number, for there may be millions


def _expand(name: str, out: Path) -> Iterator[Song]:
    path = Path(name)
    if storage.is_url(name):
        found = [Song(url, parent) for url, parent in storage.walk_url(name, AUDIO_SUFFIXES)]
        yield from found or [Song(name)]
    elif os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        yield from _or_problem(_in_folder(path, out), name, "no audio files in this folder or below it")
    elif (read := _LISTS.get(path.suffix.lower())) and path.is_file():
        yield from _or_problem(read(path), name, "this list names no songs")
    elif storage.is_pattern(name) and not os.path.lexists(name):
        yield from _or_problem(_behind_pattern(name, out), name, "no audio file matches this pattern")
    else:
        yield Song(name)


def _or_problem(songs: Iterator[Song], name: str, problem: str) -> Iterator[Song]:
    yield next(songs, Song(name, problem=f"{name}: {problem}"))
    yield from songs


def _not_listed(folder: str | os.PathLike[str], error: OSError) -> Song:
    name = os.fspath(folder)
    return Song(name, problem=f"{name}: cannot list this folder: {error.strerror}")


def _in_folder(top: Path, out: Path) -> Iterator[Song]:
    if top.resolve() == out:
        raise ConfigError(
            f"{top} holds the songs and would also get the stems, which the next run would separate; "
            "choose another output folder"
        )
    denied: list[Song] = []
    walk = os.walk(top, onerror=lambda error: denied.append(_not_listed(error.filename, error)))
    for folder, folders, files in walk:
        inner = (name for name in folders if name[0] != "." and Path(folder, name).resolve() != out)
        folders[:] = sorted(inner)
        parent = _parent(Path(folder), top)
        for name in sorted(filter(_is_song, files)):
            yield Song(str(Path(folder, name)), parent)
    yield from denied


def _behind_pattern(pattern: str, out: Path) -> Iterator[Song]:
    top = next(folder for folder in Path(pattern).parents if not storage.is_pattern(str(folder)))
    denied: list[Song] = []
    for path in sorted(set(_matching(top, Path(pattern).relative_to(top).parts, denied))):
        if _is_song(path.name) and path.is_file() and not path.resolve().is_relative_to(out):
            yield Song(str(path), _parent(path.parent, top))
    yield from dict.fromkeys(denied)


def _matching(folder: Path, parts: tuple[str, ...], denied: list[Song]) -> Iterator[Path]:
    """The paths below a folder that match the parts of a pattern; folders that cannot be listed are noted.

    `Path.glob` leaves such folders out without a word.
    """
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    if not storage.is_pattern(first):
        yield from _matching(folder / first, rest, denied)
        return
    if first == "**":
        yield from _matching(folder, rest, denied)
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if isinstance(error, PermissionError):
            denied.append(_not_listed(folder, error))
        return
    for entry in entries:
        if first == "**":
            if entry.is_dir(follow_symlinks=False):
                yield from _matching(folder / entry.name, parts, denied)
        elif fnmatch.fnmatch(entry.name, first) and (not rest or entry.is_dir()):
            yield from _matching(folder / entry.name, rest, denied)


def _is_song(name: str) -> bool:
    return name[0] != "." and PurePath(name).suffix.lower() in AUDIO_SUFFIXES


def _playlist(path: Path) -> Iterator[Song]:
    """A path or URL a line, comments after #."""
    for line in _read(path).splitlines():
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            yield _listed(entry, path.parent)


def _table(path: Path) -> Iterator[Song]:
    content = io.StringIO(_read(path).decode("utf-8", "surrogateescape"), newline="")
    rows = csv.DictReader(content, delimiter=_delimiter(content))
    try:
        columns = rows.fieldnames or []
        first = "path" if "path" in columns else next(iter(columns), "")
        if clash := sorted({*columns} & {*_RESERVED} - {first}):
            raise ConfigError(f"{path}: column {clash[0]!r} is a field that Duetto fills; rename the column")
        for row in rows:
            fields = tuple((key, row[key] or "") for key in columns if key != first and key in row)
            if row[first]:
                yield _listed(os.fsencode(row[first]), path.parent)._replace(fields=fields)
    except csv.Error as error:
        raise ConfigError(f"{path}: line {rows.line_num} cannot be read as a table: {error}") from error


def _delimiter(content: io.StringIO) -> str:
    """The one that a line "sep=;" names, as Excel writes it, else the most frequent of the header."""
    header = content.readline().strip()
    if header.lower().startswith("sep=") and len(header) == 5:
        return header[4]
    content.seek(0)
    return max(",;\t", key=header.count)


_LISTS: dict[str, Callable[[Path], Iterator[Song]]] = {
    ".m3u": _playlist, ".m3u8": _playlist, ".csv": _table, ".tsv": _table,
}  # fmt: skip


def _read(path: Path) -> bytes:
    """The bytes of a list, without a byte order mark, and in UTF-8 if the file is in UTF-16."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if b"\0" not in content:
        return content.removeprefix(codecs.BOM_UTF8)
    little_endian = content[1::2].count(0) > content[::2].count(0)
    try:
        text = content.decode("utf-16-le" if little_endian else "utf-16-be")
    except UnicodeError as error:
        raise ConfigError(f"{path}: cannot be read as UTF-16: {error}; save it as UTF-8") from error
    return text.removeprefix("\ufeff").replace("\0", "").encode()


def _listed(entry: bytes, folder: Path) -> Song:
    """A song of a list, its name relative to the list's folder."""
    name = _decode(entry, folder)
    if storage.is_url(name):
        return Song(name)
    path = folder / name
    return Song(str(path), _parent(path.parent, folder))


def _decode(entry: bytes, folder: Path) -> str:
    """The reading of an entry that names a file: as it is, as Windows writes it, or with %20 and the like."""
    plain = storage.without_scheme(os.fsdecode(entry))
    readings = [plain, entry.decode("cp1252", "replace")]
    readings += [reading.replace("\\", "/") for reading in readings]
    readings.append(os.fsdecode(unquote_to_bytes(entry)))
    return next((each for each in readings if "\0" not in each and os.path.lexists(folder / each)), plain)


def _parent(folder: Path, top: Path) -> str:
    """The folder below `top`, with slashes; "" where it lies elsewhere."""
    parent = Path(os.path.relpath(folder, top))
    return "" if parent.parts[:1] == ("..",) or parent.is_absolute() else parent.as_posix().strip(".")
