"""The manifest of a batch: a line of JSON per song, from which the next run resumes."""

import errno
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Self

from duetto.batch import storage
from duetto.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: batches cannot see each other there, so nothing is swept
    fcntl = None  # type: ignore[assignment]

NAME = "manifest.jsonl"
_LINES_PER_FILE = 100


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that was written.

    Attributes:
        path: below the output folder, with slashes.
        n_bytes: its size.
        fingerprint: its size and time of change; a store's own mark of a remote file.
        sha256: of its bytes.
        peak: largest absolute sample, full scale being 1.
    """

    path: str
    n_bytes: int
    fingerprint: str
    sha256: str
    peak: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a song: a line of the manifest.

    Attributes:
        song: its absolute path, or its URL.
        status: "done", "failed", or "skipped" since an earlier batch had done it.
        error: why it failed.
        fingerprint: the song's, as `Output.fingerprint`.
        sha256: of the song's bytes.
        model: SHA-256 of the model file; of a conventional method its name.
        parameters: all options that the stems depend on.
        outputs: stem -> file.
        audio_seconds: of the song that were separated.
        seconds: from opening the song to the last stem on disk.
        n_clipped: samples that did not fit the output's integers and were saturated.
        null_residual: largest |sum of the stems - mixture|, full scale being 1; None where not all stems
            were written.
        notes: what a user should know.
        version: of Duetto.
    """

    song: str
    status: Literal["done", "failed", "skipped"]
    error: str | None = None
    fingerprint: str = ""
    sha256: str = ""
    model: str = ""
    parameters: dict[str, Any]
    outputs: dict[str, Output]
    audio_seconds: float = 0.0
    seconds: float = 0.0
    n_clipped: int = 0
    null_residual: float | None = None
    notes: tuple[str, ...] = ()
    version: str = ""

    @property
    def lasting(self) -> "Record":
        """What a manifest says of it: one that was skipped is done."""
        return replace(self, status="done") if self.status == "skipped" else self

    def to_line(self) -> bytes:
        """JSON in ASCII, with a newline; names that are no Unicode survive."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Record | None":
        """The record in a line; None for half a line, or one of another version's making."""
        try:
            values = json.loads(line)
            outputs = {stem: Output(**output) for stem, output in values["outputs"].items()}
            return cls(**{**values, "outputs": outputs, "notes": tuple(values["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class Known(NamedTuple):
    """What a manifest knows before a song is separated.

    Attributes:
        previous: the last record of the song.
        owners: records of other songs, one of whose stems has a path that a stem of this song may get.
        of_other_version: whether one of these records cannot be read, since another version of Duetto wrote
            it; it is left out.
    """

    previous: Record | None = None
    owners: tuple[Record, ...] = ()
    of_other_version: bool = False


class Manifest:
    """The manifest of a folder of this machine; use it as a context manager.

    Batches may share a folder: each adds whole lines at the end. A batch that is alone removes the
    temporary files of those that were killed.

    Args:
        out: the output folder; it is made.

    Attributes:
        lost_worker: whether to look for temporary files at the end.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, out: str) -> None:
        self.path = Path(out) / NAME
        self.lost_worker = False

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._explained(error) from error
        alone = self._is_alone()
        self._index = _Index(self.path.open("rb"))
        if alone and self._index.n_running:
            self._sweep()
        self._share()
        self._append(b"\n" * self._index.cut_off + _event("start", alone=alone))
        return self

    def __exit__(self, *_: object) -> None:
        with self._file, self._index.file:
            if not self.lost_worker or (self._is_alone() and self._sweep()):
                self._append(_event("end"))

    def find(self, song: str, paths: Iterable[str] = ()) -> Known:
        """What earlier batches wrote of a song.

        Args:
            song: its absolute path or URL.
            paths: below the output folder, where its stems may be written.
        """
        return self._index.find(song, paths)

    def add(self, record: Record) -> None:
        """Append a record; it is on the disk when this returns.

        Raises:
            ConfigError: the disk is full or gone.
        """
        self._append(record.to_line())
        os.fsync(self._file.fileno())

    def _append(self, line: bytes) -> None:
        try:
            if self._file.write(line) < len(line):  # one write, so that lines of several batches never mix
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> ConfigError:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "make room, then run this again" if is_full else "choose another output folder"
        return ConfigError(f"{self.path} cannot be written: {error.strerror}; {advice}")

    def _is_alone(self) -> bool:
        """Whether no other batch has the folder; until `_share` none can have it."""
        if fcntl is None:
            return False
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _share(self) -> None:
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def _sweep(self) -> bool:
        """Remove the temporary files below the folder; call it alone."""
        for folder, _, files in os.walk(self.path.parent):
            for name in files:
                if name.startswith(".duetto-") and name.endswith(".part"):
                    with suppress(OSError):
                        Path(folder, name).unlink()
        return True


class RemoteManifest:
    """The same below a URL, where nothing can be appended: files of a hundred lines in a folder.

    Batches may share the folder. Temporary files of killed ones stay, since one cannot know who lives.
    """

    def __init__(self, out: str) -> None:
        self._folder = storage.join(out, NAME.replace(".", "-"))
        self._batch = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        self._n_full, self._lines = 0, list[bytes]()
        self.lost_worker = False

    def __enter__(self) -> Self:
        file = tempfile.TemporaryFile()
        file.writelines(storage.cat(f"{self._folder}/*.jsonl"))
        file.seek(0)
        self._index = _Index(file)
        return self

    def __exit__(self, *_: object) -> None:
        self._index.file.close()

    def find(self, song: str, paths: Iterable[str] = ()) -> Known:
        """As `Manifest.find`."""
        return self._index.find(song, paths)

    def add(self, record: Record) -> None:
        """Write the record, with those before it in its file."""
        self._lines.append(record.to_line())
        storage.put(b"".join(self._lines), f"{self._folder}/{self._batch}-{self._n_full:06}.jsonl")
        if len(self._lines) == _LINES_PER_FILE:
            self._n_full, self._lines = self._n_full + 1, []


class _Index:
    """Where in a file the last record of each song and of each stem is; and the batches without an end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.n_running = 0
        self.cut_off = False
        self._offsets: dict[str, int] = {}
        self._owners: dict[int, int] = {}  # by the hashes of paths, for there may be millions
        offset = 0
        for line in file:
            self._take(line, offset)
            offset += len(line)
            self.cut_off = not line.endswith(b"\n")

    def _take(self, line: bytes, offset: int) -> None:
        with suppress(ValueError, TypeError, KeyError):  # half a line
            values = json.loads(line)
            if "event" not in values:
                self._offsets[values["song"]] = offset
                for output in values["outputs"].values():
                    self._owners[_hash(output["path"])] = offset
            elif values["event"] == "end":
                self.n_running -= 1
            else:
                self.n_running = 1 if values["alone"] else self.n_running + 1

    def find(self, song: str, paths: Iterable[str]) -> Known:
        offsets = {self._owners[name] for path in paths if (name := _hash(path)) in self._owners}
        owners = [self._read(offset) for offset in sorted(offsets)]
        previous = self._read(self._offsets[song]) if song in self._offsets else None
        return Known(
            previous,
            tuple(record for record in owners if record and record.song != song),
            of_other_version=None in owners or (previous is None and song in self._offsets),
        )

    def _read(self, offset: int) -> Record | None:
        self.file.seek(offset)
        return Record.from_line(self.file.readline())


def _hash(path: str) -> int:
    return hash(os.path.normpath(path))


def _event(name: str, **values: Any) -> bytes:
    return json.dumps({"event": name, **values, "time": time.time(), "pid": os.getpid()}).encode() + b"\n"
