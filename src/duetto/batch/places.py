"""Where songs and stems lie: on this machine, or behind a URL of any file system that fsspec knows."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from duetto.errors import AudioError


def is_url(name: str) -> bool:
    """Whether a name is a URL rather than a path."""
    return "://" in name


def join(place: str, relative: str) -> str:
    """A name below a folder or URL."""
    return f"{place.rstrip('/')}/{relative}" if is_url(place) else os.path.join(place, relative)


def fingerprint(name: str) -> str:
    """What changes when a file is written again: its size and time, or what a remote store says.

    Raises:
        OSError: it cannot be found.
    """
    if is_url(name):
        system, path = _open_url(name)
        return str(system.ukey(path))
    status = os.stat(name)
    return f"{status.st_size}:{status.st_mtime_ns}"


def digest(name: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, in constant memory.

    Raises:
        OSError: it cannot be read.
    """
    system, path = _open_url(name) if is_url(name) else (None, name)
    with open(path, "rb") if system is None else system.open(path, "rb") as file:
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
def staged(out: str) -> Iterator[Path]:
    """A folder of this machine whose files are in `out` once the context has ended well."""
    if not is_url(out):
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        yield Path(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                put(path.read_bytes(), join(out, path.relative_to(folder).as_posix()))


def put(content: bytes, url: str) -> None:
    """Write a remote file that is whole or absent."""
    system, path = _open_url(url)
    folder = path.rpartition("/")[0]
    part = f"{folder}/.duetto-{secrets.token_hex(4)}.part"
    system.makedirs(folder, exist_ok=True)
    try:
        system.pipe_file(part, content)
        system.mv(part, path)
    except BaseException:
        if system.exists(part):
            system.rm_file(part)
        raise


def cat(pattern: str) -> list[bytes]:
    """What the remote files hold whose URLs fit a pattern, in the order of their names."""
    system, path = _open_url(pattern)
    return [system.cat_file(each) for each in sorted(system.glob(path))]


def walk_url(url: str, extensions: Collection[str]) -> Iterator[tuple[str, str]]:
    """The files with these extensions below a URL or behind its pattern, each with its folder below it."""
    system, path = _open_url(url)
    if any(sign in path for sign in "*?["):
        top = path[: min(path.find(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        found = system.glob(path)
    elif system.isdir(path):
        top, found = path.rstrip("/"), system.find(path)
    else:
        return
    for each in sorted(found):
        if PurePosixPath(each).suffix.lower() in extensions and PurePosixPath(each).name[0] != ".":
            yield system.unstrip_protocol(each), each[len(top) :].strip("/").rpartition("/")[0]


def _open_url(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    return system, str(path)
