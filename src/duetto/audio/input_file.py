"""A file that is read: a path, the bytes of a file, or a binary file object; and views of parts of it."""

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from duetto.errors import AudioError

AudioFile = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What can be read: a path, the content of a file as bytes, or a binary file object that can seek."""

_ENDLESS = 2**40  # bytes; far more than any MP3, far less than overflows a length in samples


class InputFile:
    """A file that can be opened several times and is noticed to change.

    Args:
        source: A path, bytes, or a binary file object that can seek, which is read from its start and never
            closed.
        name: What messages call it; by default the path, or the name of the file object.

    Attributes:
        name: As given, or the default.
        path: The path; of bytes and file objects the name, or "song".
        content: What holds the file: the path or a file object.
        n_bytes: Its size.

    Raises:
        AudioError: The file is missing, a folder, empty or unreadable, or the object is not a binary file.
    """

    def __init__(self, source: AudioFile, name: str | None = None) -> None:
        self.content: Path | BinaryIO
        if isinstance(source, str | os.PathLike):
            self.content = self.path = Path(source)
            self.name = name or str(source)
            with self._readable():
                _check_regular(self.path, self.name)
        else:
            self.content = _binary(source)
            own = getattr(source, "name", None)
            own = own if isinstance(own, str) else ""
            self.name, self.path = name or own or "the file object", Path(own or "song")
        with self._readable():
            self._state = self._stat()
        self.n_bytes = self._state[0]
        if self.n_bytes == 0:
            raise AudioError(f"{self.name} is empty (0 bytes); give a file with audio in it")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file at its start."""
        with self._readable():
            if isinstance(self.content, Path):
                with self.content.open("rb") as file:
                    yield file
            else:
                self.content.seek(0)
                yield self.content

    def check_unchanged(self) -> None:
        """Raise an AudioError if the file is not what it was when it was first opened."""
        try:
            unchanged = self._stat() == self._state
        except OSError as error:
            reason = "was deleted or made unreadable while it was read"
            raise AudioError(f"{self.name} {reason}; start again with a whole copy") from error
        if not unchanged:
            raise AudioError(f"{self.name} was changed while it was read; start again when it is complete")

    def _stat(self) -> tuple[int, int]:
        if not isinstance(self.content, Path):
            return self.content.seek(0, io.SEEK_END), 0
        status = self.content.stat()
        return status.st_size, status.st_mtime_ns

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise AudioError(f"{self.name} cannot be read: {reason}; check its permissions") from error


def _check_regular(path: Path, name: str) -> None:
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise AudioError(f"{name} {'is a folder' if path.is_dir() else what}; give the path of an audio file")


def _binary(source: Any) -> BinaryIO:
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if not all(callable(getattr(source, name, None)) for name in ("read", "seek", "tell")):
        kind = type(source).__name__
        raise AudioError(f"{kind} is not an audio file; give a path, bytes or a binary file object")
    name = getattr(source, "name", "the file object")
    if isinstance(source, io.TextIOBase):
        raise AudioError(f'{name} was opened as text; open it with open(path, "rb")')
    if not getattr(source, "seekable", lambda: True)():
        raise AudioError(f"{name} cannot seek; read it into memory first: io.BytesIO(file.read())")
    file: BinaryIO = source
    return file


class FileView(io.RawIOBase):
    """Parts of a binary file read as one file, with some bytes replaced.

    Args:
        file: The file.
        extents: The start and stop of each part, in bytes.
        patches: Bytes to show instead, by their position in `file`.
        endless: Whether the view claims to be longer than it is, and reads as zeros far past its end.

    Attributes:
        error: The first error of the file below; libsndfile has no way to pass it on.
    """

    def __init__(
        self,
        file: BinaryIO,
        extents: Sequence[tuple[int, int]],
        patches: dict[int, bytes] | None = None,
        *,
        endless: bool = False,
    ) -> None:
        self._file, self._extents, self._patches = file, extents, patches or {}
        self._ends = list(accumulate(stop - start for start, stop in extents))
        self._length = self._ends[-1] if self._ends else 0
        self._endless, self._position = endless, 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, and return the new position."""
        end = self._length + (_ENDLESS if self._endless else 0)
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as the view has bytes."""
        if self._endless and self._position > self._length:  # a search for tags at the end
            buffer[:] = bytes(len(buffer))
            self._position += len(buffer)
            return len(buffer)
        n_read = 0
        while n_read < len(buffer) and self._position < self._length:
            part = self._bytes(len(buffer) - n_read)
            if not part:
                break
            buffer[n_read : n_read + len(part)] = part
            n_read += len(part)
            self._position += len(part)
        return n_read

    def _bytes(self, n: int) -> bytes:
        """Up to `n` bytes of the extent at the position."""
        index = bisect_right(self._ends, self._position)
        stop = self._extents[index][1]
        at = stop - (self._ends[index] - self._position)
        try:
            self._file.seek(at)
            data = self._file.read(min(n, stop - at))
        except OSError as error:
            self.error = self.error or error
            return b""
        for place, patch in self._patches.items():
            if at - len(patch) < place < at + len(data):
                data = _patched(data, place - at, patch)
        return data


def _patched(data: bytes, place: int, patch: bytes) -> bytes:
    """The data with `patch` at `place`, which may lie partly outside."""
    patch, place = patch[max(-place, 0) :], max(place, 0)
    patch = patch[: len(data) - place]
    return data[:place] + patch + data[place + len(patch) :]
