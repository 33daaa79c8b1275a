"""Where songs are separated: in this process, or in worker processes."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, Self

from duetto.batch.inputs import Song
from duetto.batch.manifest import Known, Record
from duetto.batch.worker import Progress, Work, Worker
from duetto.batch.worker_process import READY, serve
from duetto.errors import ConfigError
from duetto.separation.settings import MAX_THREADS, N_CORES

_N_TRIES = 2
_PATIENCE_SECONDS = 10


class Executor(Protocol):
    """Takes songs and promises records; a context manager, which drops unfinished songs if it ends badly."""

    @property
    def n_ahead(self) -> int:
        """Number of songs to submit before waiting for one."""

    @property
    def lost_worker(self) -> bool:
        """Whether a worker died, or may have, and left a temporary file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    def submit(self, song: Song, known: Known) -> "Future[Record]":
        """Separate a song."""


class InProcess:
    """Separates where it is called."""

    n_ahead = 1
    lost_worker = False

    def __init__(self, work: Work, progress: Progress | None) -> None:
        self._worker = Worker(work, progress=progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, song: Song, known: Known) -> "Future[Record]":
        """Separate a song now."""
        future: Future[Record] = Future()
        future.set_result(self._worker(song, known))
        return future


class Processes:
    """Separates in `n_processes` worker processes, which divide the cores.

    Each has a thread here that sends it one song at a time. So a process that is killed, as when memory runs
    out, takes only its own song along; the song is tried once more in a new process.

    Raises:
        ConfigError: this process may not start others, or a worker ended while it started.
    """

    def __init__(self, work: Work, n_processes: int) -> None:
        if multiprocessing.current_process().daemon:
            raise ConfigError(
                f"jobs={n_processes}: this is a daemonic process, such as those of multiprocessing.Pool, "
                "which may not start worker processes; choose jobs=1"
            )
        self.n_ahead = n_processes
        self.lost_worker = False
        self._work = work
        self._lock = threading.Lock()
        self._stopping = False
        self._all: set[_Process] = set()

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self.n_ahead)
        with _deaf_to_interrupts():  # they inherit it, and would complain of one while they start
            self._free = [self._start() for _ in range(self.n_ahead)]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._lock:
            self._stopping = True
        for process in self._all:
            process.stop(at_once=kind is not None)
        self._threads.shutdown(cancel_futures=True)
        for process in self._all:
            self.lost_worker |= not process.join()

    def submit(self, song: Song, known: Known) -> "Future[Record]":
        """Separate a song in the next process that is free."""
        return self._threads.submit(self._run, song, known)

    def _run(self, song: Song, known: Known) -> Record:
        process = self._free.pop()
        for _ in range(_N_TRIES):
            try:
                record = process.run(song, known)
                break
            except (EOFError, OSError):
                process = self._replace(process)
        else:
            advice = "perhaps memory ran out: try fewer --jobs"
            record = self._work.failed(song, f"{song.name}: its process was killed, twice; {advice}")
        self._free.append(process)
        return record

    def _start(self) -> "_Process":
        process = _Process(self._work, max(1, min(MAX_THREADS, N_CORES // self.n_ahead)))
        self._all.add(process)
        return process

    def _replace(self, process: "_Process") -> "_Process":
        with self._lock:
            if self._stopping:
                raise CancelledError
            self.lost_worker = True
            process.join()
            self._all.discard(process)
            return self._start()


class _Process:
    """A worker process and the pipe to it, either end of which notices when the other is gone."""

    def __init__(self, work: Work, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # The work, megabytes of model, goes through the pipe: `start` would wait for ever for a process that
        # ends before it has read its arguments.
        self._process = context.Process(target=serve, args=(theirs, n_threads), daemon=True)
        self._process.start()
        theirs.close()
        self._work: Work | None = work

    def run(self, song: Song, known: Known) -> Record:
        """Separate a song there.

        Raises:
            ConfigError: the process ended by itself while it started.
            EOFError, OSError: it was killed, or ended later.
        """
        if self._work is not None:
            self._prepare(self._work)
            self._work = None
        self._pipe.send((song, known))
        record: Record = self._pipe.recv()
        return record

    def _prepare(self, work: Work) -> None:
        try:
            self._pipe.send(work)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_PATIENCE_SECONDS)
            if (self._process.exitcode or 0) < 0:  # killed by a signal, as it may be later: another is tried
                raise
            raise ConfigError(
                f"a worker process ended while it started (exit code {self._process.exitcode}). A program "
                "that uses more than one job must be a file, and guard its main part by "
                'if __name__ == "__main__": If it is, perhaps memory ran out; or choose jobs=1'
            ) from error
        if answer != READY:
            raise answer

    def stop(self, *, at_once: bool) -> None:
        """Let it drop its song, or end when it has nothing to do."""
        if at_once:
            self._process.terminate()
        else:
            self._pipe.close()

    def join(self) -> bool:
        """Wait until it has ended; whether it did so by itself."""
        self._process.join(_PATIENCE_SECONDS)
        ended = not self._process.is_alive()
        if not ended:
            self._process.kill()
            self._process.join()
        return ended


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
