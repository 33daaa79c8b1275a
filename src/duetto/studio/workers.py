"""A fixed number of worker processes that run tasks; one whose task is cancelled is killed and replaced."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from duetto.errors import DuettoError
from duetto.models.telemetry import disable_telemetry

Progress = Callable[[int, int], None]
TaskFunction = Callable[..., Any]
"""Called with `progress=` and its arguments, in a worker process; it returns what can be pickled."""


class WorkerError(DuettoError):
    """A worker process ended before its task did: it was cancelled, ran out of time or crashed."""


@dataclass(eq=False)
class Ticket:
    """A task that was handed in.

    Attributes:
        future: its result, or its exception.
    """

    function: TaskFunction
    arguments: Mapping[str, Any]
    on_start: Callable[[], None]
    on_progress: Progress
    limit_seconds: float | None
    future: "Future[Any]" = field(default_factory=Future)
    _stop: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Take it out of the queue, or end its process."""
        self._stop.set()
        self.future.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled, though it may still be ending."""
        return self._stop.is_set()


class WorkerPool:
    """Worker processes and the threads that hand them one task at a time.

    Args:
        n_workers: how many.
        name: of the threads.
    """

    def __init__(self, n_workers: int, name: str) -> None:
        self._tickets: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._running: set[_Process | None] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(n_workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that there are at the moment."""
        return [worker.pid for worker in self._running if worker and worker.is_alive]

    def submit(
        self,
        function: TaskFunction,
        *,
        on_start: Callable[[], None] = lambda: None,
        on_progress: Progress = lambda done, total: None,
        limit_seconds: float | None = None,
        **arguments: Any,
    ) -> Ticket:
        """Queue a task.

        Args:
            function: a function of a module, which the worker imports.
            on_start: called from a thread of the pool when a worker takes it.
            on_progress: called likewise with what is done and what there is.
            limit_seconds: it is ended when it takes longer.
            arguments: keyword arguments of the function.
        """
        ticket = Ticket(function, arguments, on_start, on_progress, limit_seconds)
        self._tickets.put(ticket)
        return ticket

    def close(self) -> None:
        """End the processes, whatever they do, and refuse the tasks that wait."""
        self._closed.set()
        for _ in self._threads:
            self._tickets.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        worker: _Process | None = None
        while (ticket := self._tickets.get()) is not None:
            if not ticket.future.set_running_or_notify_cancel():
                continue
            try:
                if self._closed.is_set():
                    raise WorkerError("the studio was stopped before the task began")
                ticket.on_start()
                if worker is None or not worker.is_alive:
                    self._running.discard(worker)
                    worker = _start()
                    self._running.add(worker)
                result = self._await(worker, ticket)
            except Exception as error:  # noqa: BLE001 - who waits for the ticket gets every failure
                ticket.future.set_exception(error)
            else:
                ticket.future.set_result(result)
        if worker:
            worker.kill()

    def _await(self, worker: "_Process", ticket: Ticket) -> Any:
        """The result of a task, unless it is cancelled, takes too long, or its process dies."""
        end = time.monotonic() + ticket.limit_seconds if ticket.limit_seconds else None
        try:
            worker.connection.send((ticket.function, dict(ticket.arguments)))
            while True:
                if self._closed.is_set() or ticket.is_cancelled or (end and time.monotonic() > end):
                    worker.kill()
                    late = "" if self._closed.is_set() or ticket.is_cancelled else "took too long and "
                    raise WorkerError(f"the task {late}was stopped")
                if not worker.connection.poll(0.1):
                    continue
                kind, content = worker.connection.recv()
                if kind == "done":
                    return content
                if kind == "failed":
                    raise content
                ticket.on_progress(*content)
        except (EOFError, OSError) as error:
            raise WorkerError(
                f"the worker process ended unexpectedly ({worker.kill()}); try again"
            ) from error


def _start() -> "_Process":
    try:
        return _Process()
    except OSError as error:  # of processes, memory or open files
        raise WorkerError(f"no worker process can be started ({error.strerror}); try again later") from error


class _Process:
    """A worker process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> str:
        """End it, and say how it ended."""
        self._process.join(timeout=0.2)  # one that crashed shall keep its own exit code
        self._process.kill()
        self._process.join()
        self.connection.close()
        return f"exit code {self._process.exitcode}"


def _serve(connection: Connection) -> None:
    """Run tasks until the studio closes the pipe or ends."""
    disable_telemetry()
    # Ctrl-C reaches the whole group of processes, but the studio ends its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)  # the service answers first

    def progress(done: int, total: int) -> None:
        connection.send(("progress", (done, total)))

    try:
        while True:
            function, arguments = connection.recv()
            try:
                answer = ("done", function(**arguments, progress=progress))
            except DuettoError as error:
                answer = ("failed", error)
            except MemoryError:
                answer = ("failed", WorkerError("there is not enough memory for this song"))
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                answer = ("failed", WorkerError(f"a file could not be read or written: {error.strerror}"))
            except Exception as error:  # noqa: BLE001 - a fault of ours fails this task, not the worker
                answer = ("failed", WorkerError(f"unforeseen {type(error).__name__}: {error}"))
            connection.send(answer)
    except (EOFError, BrokenPipeError):
        return


def _end_with_parent() -> None:
    """Leave a song when the studio was killed: its next start marks the job as interrupted."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
