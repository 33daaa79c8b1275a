"""Files and folders that are whole or absent."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, unique: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`; what the block writes there moves to `path` if the block ends well.

    After a failure it is removed. Missing parent folders are made, and removed again after a failure. All is
    on the disk before it takes its name, so that a power failure leaves the old file or the new one.

    Args:
        path: The file that is written, or the folder, which must be new.
        unique: Whether the temporary name is random, since several processes may write the same file at once.
            By default what a killed process left is removed by the next.

    Raises:
        OSError: The file cannot be written.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: only their owner may read those. At most 246 bytes, so that the longest names work.
    part = path.with_name(f".duetto-{secrets.token_hex(4)}.part" if unique else f".{path.name[:60]}.part")
    _remove(part)
    with ExitStack() as after_failure:
        after_failure.callback(_remove, part, missing)
        yield part
        for written in (*part.rglob("*"), part):
            _flush(written)
        part.replace(path)
        _flush(path.parent)
        after_failure.pop_all()


def _remove(part: Path, folders: Sequence[Path] = ()) -> None:
    """Remove what was written, and the folders that were made for it."""
    if part.is_dir():
        shutil.rmtree(part)
    part.unlink(missing_ok=True)
    with suppress(OSError):  # a folder in use stays
        for folder in folders:
            folder.rmdir()


@contextmanager
def filling(file: BinaryIO) -> Iterator[Path]:
    """A temporary path; what is in its file goes to a binary file object if the block ends well.

    Raises:
        OSError: The file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="duetto-") as folder:
        part = Path(folder, "part")
        yield part
        with part.open("rb") as whole:
            shutil.copyfileobj(whole, file)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
