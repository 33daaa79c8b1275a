"""Songs separated on a Ray cluster: a task per song, the model opened once per worker process."""

import os
import signal
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

import ray

from duetto.batch.inputs import Song
from duetto.batch.manifest import Known, Record
from duetto.errors import ConfigError
from duetto.models.telemetry import disable_telemetry

if TYPE_CHECKING:
    from duetto.batch.worker import Work, Worker

_N_RETRIES = 3  # of a song whose worker or machine was lost
_PER_CORE = 2  # songs handed in, so that no core waits
_PATIENCE_SECONDS = 10

_workers: "dict[str, Worker]" = {}


class RayTasks:
    """Separates on a cluster, a core per song, with as many cores as the cluster has at that moment.

    Args:
        work: what to do; its paths must mean the same on every machine.
        address: of a cluster, or "auto": the one this machine belongs to, else one of this machine alone.

    Raises:
        ConfigError: there is no cluster at that address.
    """

    lost_worker = True  # Ray replaces them and does not tell

    def __init__(self, work: "Work", address: str) -> None:
        self._work = work
        self._address = address
        self._pending: set[Any] = set()

    @property
    def n_ahead(self) -> int:
        """It follows the cluster as that grows and shrinks."""
        n_cores = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
        return max(2, _PER_CORE * int(n_cores))

    def __enter__(self) -> Self:
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(self._address)
        self._sent = [ray.put(self._work)]  # in a list, lest each task unpack its own
        self._task = ray.remote(num_cpus=1, max_retries=_N_RETRIES)(_separate)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._pending:
            pending = list(self._pending)
            for reference in pending:
                ray.cancel(reference)
            ray.wait(pending, num_returns=len(pending), timeout=_PATIENCE_SECONDS)
        if self._ours:
            ray.shutdown()

    def submit(self, song: Song, known: Known) -> "Future[Record]":
        """Hand a song in."""
        reference = self._task.remote(self._sent, song, known)
        self._pending.add(reference)
        record: Future[Record] = Future()

        def settle(done: "Future[Record]") -> None:
            self._pending.discard(reference)
            if error := done.exception():
                reason = str(error).strip().partition("\n")[0]
                record.set_result(self._work.failed(song, f"{song.name}: its worker was lost: {reason}"))
            else:
                record.set_result(done.result())

        reference.future().add_done_callback(settle)
        return record


def _connect(address: str) -> None:
    """Join a cluster; a handler of SIGTERM that Ray replaces is put back."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of our own reports to nobody
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            _refuse_silent(address)
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise ConfigError(f"no Ray cluster answers at {address}: {error}; see ray status") from error
        ray.init(include_dashboard=False, **quiet)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _refuse_silent(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address}: {error}; give HOST:PORT as ray start prints it, or auto"
        ) from error


def _separate(sent: list[Any], song: Song, known: Known) -> Record:
    reference = sent[0].hex()
    if reference not in _workers:
        disable_telemetry()  # before the import, which is why this module does not import the worker
        from duetto.batch.worker import Worker

        _workers.clear()
        _workers[reference] = Worker(ray.get(sent[0]), n_threads=1)
    return _workers[reference](song, known)
