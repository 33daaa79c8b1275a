"""Where songs and stems lie: on this machine, or behind a URL of any file system that fsspec knows."""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.request import url2pathname

from duetto.errors import AudioError, ConfigError


def is_url(name: str) -> bool:
    """Whether a name is a URL rather than a path."""
    return "://" in name


def without_scheme(name: str) -> str:
    """The path that a "file:" URL names; any other name as it is.

    File managers and players write such URLs, "%20" for a space, and no extra is needed to read them.
    """
    rest = name[5:] if name[:5].lower() == "file:" else ""
    host, _, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest[1:])
    if not rest.startswith("/") or host not in ("", "localhost"):
        return name
    return url2pathname(f"/{path}")


def is_pattern(name: str) -> bool:
    """Whether a name may stand for several."""
    return any(sign in name for sign in "*?[")


def join(place: str, relative: str) -> str:
    """A name below a folder or URL."""
    return f"{place.rstrip('/')}/{relative}" if is_url(place) else str(Path(place, relative))


def absolute(name: str) -> str:
    """The name by which it is found from every folder."""
    return name if is_url(name) else os.path.abspath(name)  # noqa: PTH100 - Path keeps `..`


def fingerprint(name: str) -> str:
    """What changes when a file is written again: its size and time, or what a remote store says.

    Raises:
        OSError: it cannot be found.
    """
    if is_url(name):
        system, path = _open_url(name)
        return str(system.ukey(path))
    status = Path(name).stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def digest(name: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, in constant memory.

    Raises:
        OSError: it cannot be read.
    """
    with _opened(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def fetched(name: str) -> Iterator[Path]:
    """A path of this machine that holds what `name` holds, for as long as the context lasts."""
    if not is_url(name):
        yield Path(name)
        return
    system, path = _open_url(name)
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        local = Path(folder, PurePosixPath(path).name)
        try:
            system.get_file(path, str(local))
        except OSError as error:
            raise AudioError(f"{name} cannot be fetched: {error}; check the URL") from error
        yield local


@contextmanager
def spooled(stream: BinaryIO) -> Iterator[Path]:
    """The path of a temporary file, named "stdin", that holds all of a stream until the context ends.

    Raises:
        AudioError: the temporary folder is full.
    """
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        path = Path(folder) / "stdin"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file)
        except OSError as error:
            reason = f"{error.strerror}; set TMPDIR to a folder with more space"
            raise AudioError(f"standard input cannot be kept in {folder}: {reason}") from error
        yield path


@contextmanager
def staged(out: str) -> Iterator[Path]:
    """A folder of this machine whose files are in `out` once the context has ended well."""
    if not is_url(out):
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        yield Path(folder)
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            with _replacing(join(out, path.relative_to(folder).as_posix())) as (system, part):
                system.put_file(str(path), part)


def put(content: bytes, url: str) -> None:
    """Write a remote file, which is whole or absent."""
    with _replacing(url) as (system, part):
        system.pipe_file(part, content)


@contextmanager
def _replacing(url: str) -> Iterator[tuple[Any, str]]:
    """A file system and a temporary path in it; its file moves to `url` if the block ends well."""
    system, path = _open_url(url)
    folder = path.rpartition("/")[0]
    part = f"{folder}/.duetto-{secrets.token_hex(4)}.part"
    system.makedirs(folder, exist_ok=True)
    try:
        yield system, part
        system.mv(part, path)
    finally:
        if system.exists(part):
            system.rm_file(part)


def cat(pattern: str) -> list[bytes]:
    """What the remote files hold whose URLs fit a pattern, in the order of their names."""
    system, path = _open_url(pattern)
    return [system.cat_file(each) for each in sorted(system.glob(path))]


def walk_url(url: str, extensions: Collection[str]) -> Iterator[tuple[str, str]]:
    """The files with these extensions below a URL or behind its pattern, each with its folder below it."""
    system, path = _open_url(url)
    if is_pattern(path):
        top = next(str(folder) for folder in PurePosixPath(path).parents if not is_pattern(str(folder)))
        found = system.glob(path)
    elif system.isdir(path):
        top, found = path.rstrip("/"), system.find(path)
    else:
        return
    for each in sorted(found):
        if PurePosixPath(each).suffix.lower() in extensions and PurePosixPath(each).name[0] != ".":
            yield system.unstrip_protocol(each), each[len(top) :].strip("/").rpartition("/")[0]


def _opened(name: str) -> Any:
    """A file to read bytes from."""
    if not is_url(name):
        return Path(name).open("rb")
    system, path = _open_url(name)
    return system.open(path, "rb")


def _open_url(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{url}: this needs {error.name}, which is not installed; run pip install {error.name}"
        ) from error
    except (ImportError, ValueError) as error:  # a file system without its package, or none that is known
        raise ConfigError(f"{url}: {error}") from error
    return system, str(path)
