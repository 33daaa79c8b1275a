"""What a worker process does. It imports onnxruntime only after the runtime's telemetry is switched off."""

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from duetto.errors import DuettoError
from duetto.models.telemetry import disable_telemetry

READY = "ready"


def serve(pipe: Connection, n_threads: int) -> None:
    """Separate songs until the pipe is closed, or SIGTERM tells to drop the song and end.

    Receives the `Work` and answers `READY`, or why it cannot be done; then receives songs with what the
    manifest knows of them and answers each with its record.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    disable_telemetry()
    from duetto.batch.worker import Worker

    with suppress(EOFError, OSError):
        try:
            worker = Worker(pipe.recv(), n_threads=n_threads)
        except DuettoError as error:
            pipe.send(error)
            return
        pipe.send(READY)
        while True:
            pipe.send(worker(*pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
