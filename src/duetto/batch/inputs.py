"""Which songs a batch holds: files, folders, patterns, playlists and tables become a list of `Song`."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from string import Formatter
from typing import NamedTuple

from duetto.audio.formats import CONTAINERS
from duetto.batch import storage
from duetto.errors import ConfigError

EXTENSIONS = frozenset(CONTAINERS) | {
    ".aac", ".aifc", ".m4a", ".mka", ".mkv", ".mov", ".mp4", ".oga", ".rf64", ".wave", ".webm", ".wma",
}  # fmt: skip
"""What counts as a song in a folder or behind a pattern; a file that is named may have any extension."""

_RESERVED = ("model", "stem", "ext")


class Song(NamedTuple):
    """One song of a batch.

    Attributes:
        name: path or URL, as it was given.
        parent: its folder below the folder, pattern or list that named it, with slashes; may be "".
        fields: what a table's other columns say, as (column, value).
    """

    name: str
    parent: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The name by which a manifest knows it, from whatever folder it was given."""
        return storage.absolute(self.name)

    def fill(self, template: str) -> str:
        """The template with all filled in that this song knows; what a file knows is left to it."""
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


def find_songs(names: Iterable[str | os.PathLike[str]], out: str) -> list[Song]:
    """The songs behind names, in the order of the names, each once.

    Args:
        names: files; folders, with all below them; patterns (`**` goes down); playlists (.m3u, .m3u8);
            tables (.csv, .tsv) with a column `path`, or the path in the first. Any may be a URL, but for
            playlists and tables.
        out: the output folder; what lies in it is no song unless it is named.

    Raises:
        ConfigError: a playlist or table that cannot be read, or a folder that is the output folder.
    """
    songs: dict[str, Song] = {}
    for name in names:
        for song in _expand(os.fspath(name), Path(out).resolve()):
            songs.setdefault(song.key, song)
    return list(songs.values())


def _expand(name: str, out: Path) -> Iterator[Song]:
    """Songs behind one name; a name with nothing behind it is a song, to fail on its own when read."""
    found: Iterator[Song] = iter(())
    path = Path(name)
    if storage.is_url(name):
        found = (Song(url, parent) for url, parent in storage.walk_url(name, EXTENSIONS))
    elif path.is_dir():
        found = _in_folder(path, out)
    elif (read := _LISTS.get(path.suffix.lower())) and path.is_file():
        found = read(path)
    elif storage.is_pattern(name) and not path.exists():
        found = _behind_pattern(name, out)
    first = next(found, Song(name))
    yield first
    yield from found


def _in_folder(top: Path, out: Path) -> Iterator[Song]:
    if top.resolve() == out:
        raise ConfigError(
            f"{top} holds the songs and would get the stems, which the next run would take for songs; "
            "choose another output folder"
        )
    for folder, folders, files in os.walk(top):
        inner = (name for name in folders if name[0] != "." and Path(folder, name).resolve() != out)
        folders[:] = sorted(inner)
        parent = _parent(Path(folder), top)
        for name in sorted(filter(_is_song, files)):
            yield Song(str(Path(folder, name)), parent)


def _behind_pattern(pattern: str, out: Path) -> Iterator[Song]:
    top = next(folder for folder in Path(pattern).parents if not storage.is_pattern(str(folder)))
    for path in sorted(top.glob(str(Path(pattern).relative_to(top)))):
        if _is_song(path.name) and path.is_file() and not path.resolve().is_relative_to(out):
            yield Song(str(path), _parent(path.parent, top))


def _is_song(name: str) -> bool:
    return name[0] != "." and PurePath(name).suffix.lower() in EXTENSIONS


def _playlist(path: Path) -> Iterator[Song]:
    """Paths a line, comments after #; UTF-8, or what Windows wrote before."""
    for line in _read(path).splitlines():
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            yield _listed(_decode(entry, path.parent), path.parent)


def _table(path: Path) -> Iterator[Song]:
    content = io.StringIO(_read(path).decode("utf-8", "surrogateescape"), newline="")
    rows = csv.DictReader(content, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        columns = rows.fieldnames or []
        first = "path" if "path" in columns else next(iter(columns), "")
        if clash := sorted({*columns} & {*_RESERVED} - {first}):
            raise ConfigError(f"{path}: column {clash[0]!r} is a field that Duetto fills; rename the column")
        for row in rows:
            fields = tuple((key, row[key] or "") for key in columns if key != first and key in row)
            if row[first]:
                yield _listed(row[first], path.parent)._replace(fields=fields)
    except csv.Error as error:
        raise ConfigError(f"{path}: line {rows.line_num} is no table: {error}") from error


_LISTS: dict[str, Callable[[Path], Iterator[Song]]] = {
    ".m3u": _playlist, ".m3u8": _playlist, ".csv": _table, ".tsv": _table,
}  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _decode(entry: bytes, folder: Path) -> str:
    """The reading of a playlist's line that names a file, else the plain one."""
    plain = os.fsdecode(entry)
    readings = [plain, entry.decode("cp1252", "replace")]
    readings += [reading.replace("\\", "/") for reading in readings]
    return next((each for each in readings if "\0" not in each and (folder / each).exists()), plain)


def _listed(name: str, folder: Path) -> Song:
    """A song of a list, its name relative to the list's folder."""
    if storage.is_url(name):
        return Song(name)
    path = folder / name
    return Song(str(path), _parent(path.parent, folder))


def _parent(folder: Path, top: Path) -> str:
    """The folder below `top`, with slashes; "" where it lies elsewhere."""
    parent = Path(os.path.relpath(folder, top))
    return "" if parent.parts[:1] == ("..",) or parent.is_absolute() else parent.as_posix().strip(".")
