"""Batches that worker processes mix ahead are those of the steps, in their order."""

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto.errors import DuettoError
from duetto.training.data.prefetch import Prefetcher

pytestmark = pytest.mark.slow  # batches come from processes
Waveform = NDArray[np.float32]


def numbered(step: int) -> Waveform:
    return np.full((2, 3), step, np.float32)


def failing(step: int) -> Waveform:
    if step == 4:
        raise ValueError("no such song")
    return numbered(step)


def killed(step: int) -> Waveform:
    os.kill(os.getpid(), signal.SIGKILL)
    return numbered(step)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_batches_come_in_order_from_the_first_step_on(n_workers: int) -> None:
    with Prefetcher(numbered, 7, n_workers=n_workers) as prefetcher:
        assert [prefetcher.next()[0, 0] for _ in range(8)] == list(range(7, 15))


def test_what_a_worker_raises_ends_the_step_that_needs_it() -> None:
    with Prefetcher(failing, 3, n_workers=2) as prefetcher:
        prefetcher.next()
        with pytest.raises(DuettoError, match=r"step 5: .*no such song"):
            prefetcher.next()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_worker_is_reported() -> None:
    with Prefetcher(killed, 0, n_workers=1) as prefetcher, pytest.raises(DuettoError, match="was killed"):
        prefetcher.next()


def train_forever(connection: Connection) -> None:
    """A training process that tells its worker's process number and waits to be killed."""
    with Prefetcher(numbered, 0, n_workers=1) as prefetcher:
        prefetcher.next()
        connection.send([child.pid for child in multiprocessing.active_children()])
        time.sleep(600)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_workers_end_when_the_training_process_is_killed() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    training = context.Process(target=train_forever, args=(there,))
    training.start()
    (worker,) = here.recv()
    os.kill(training.pid, signal.SIGKILL)
    training.join()
    for _ in range(600):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker goes on")
