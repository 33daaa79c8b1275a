"""Who does the work: this process, or several that die alone."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Protocol, Self

from duetto.batch.inputs import Song
from duetto.batch.manifest import Record
from duetto.batch.worker import Progress, Work, Worker
from duetto.separation.settings import MAX_THREADS, N_CORES

_N_TRIES = 2
_PATIENCE_SECONDS = 10


class Executor(Protocol):
    """Takes songs and promises records; a context manager, which drops the songs in work if it ends badly."""

    @property
    def n_ahead(self) -> int:
        """Songs to hand in before one has to be done."""

    @property
    def lost_worker(self) -> bool:
        """Whether a worker died, or may have, and left a temporary file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...

    def submit(self, song: Song, previous: Record | None) -> "Future[Record]":
        """Separate a song, of which `previous` is known."""


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

    def submit(self, song: Song, previous: Record | None) -> "Future[Record]":
        """Separate a song now."""
        future: Future[Record] = Future()
        future.set_result(self._worker(song, previous))
        return future


class Processes:
    """Separates in `n_processes` others, each with its share of the cores.

    Each has a thread here that hands it one song at a time. So one that is killed, as when memory runs out,
    takes only its own song along; the song is tried once more in a new one.
    """

    def __init__(self, work: Work, n_processes: int) -> None:
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

    def submit(self, song: Song, previous: Record | None) -> "Future[Record]":
        """Separate a song in the next process that is free."""
        return self._threads.submit(self._run, song, previous)

    def _run(self, song: Song, previous: Record | None) -> Record:
        process = self._free.pop()
        for _ in range(_N_TRIES):
            try:
                record = process.run(song, previous)
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
    """A process that separates, and the line to it. Either end notices when the other dies."""

    def __init__(self, work: Work, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work, n_threads), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, song: Song, previous: Record | None) -> Record:
        """Separate a song there.

        Raises:
            EOFError, OSError: the process died.
        """
        self._line.send((song, previous))
        record: Record = self._line.recv()
        return record

    def stop(self, *, at_once: bool) -> None:
        """Let it drop its song, or end when it has nothing to do."""
        if at_once:
            self._process.terminate()
        else:
            self._line.close()

    def join(self) -> bool:
        """Wait until it has ended; whether it did so by itself."""
        self._process.join(_PATIENCE_SECONDS)
        ended = not self._process.is_alive()
        if not ended:
            self._process.kill()
            self._process.join()
        return ended


def _serve(line: Connection, work: Work, n_threads: int) -> None:
    """What a process does until the line is cut or it is told to end; it drops its song then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(work, n_threads=n_threads)
    with suppress(EOFError, OSError):
        while True:
            line.send(worker(*line.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


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
