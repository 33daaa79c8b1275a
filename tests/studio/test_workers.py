"""Worker processes: results, errors, cancelling, limits, crashes."""

import os
import time
from unittest.mock import Mock

import pytest

from duetto.errors import AudioError
from duetto.studio import workers
from duetto.studio.workers import WorkerError, WorkerPool
from helpers.studios import TIMEOUT_SECONDS

pytestmark = pytest.mark.slow


def double(*, value, progress):
    progress(1, 2)
    return 2 * value


def fail(*, error, progress):
    raise error


def hang(*, progress):
    progress(0, 1)
    time.sleep(600)


def crash(*, progress):
    os._exit(9)


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(1, "test")
    yield pool
    pool.close()


def test_a_task_gives_its_result_and_progress(pool):
    steps = []
    ticket = pool.submit(double, on_progress=lambda *step: steps.append(step), value=21)
    assert ticket.future.result(TIMEOUT_SECONDS) == 42
    assert steps == [(1, 2)]


def test_foreseen_errors_come_through(pool):
    with pytest.raises(AudioError, match="no audio"):
        pool.submit(fail, error=AudioError("no audio")).future.result(TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    ("error", "words"), [(ZeroDivisionError("x"), "unforeseen"), (MemoryError(), "memory")]
)
def test_other_errors_are_told(pool, error, words):
    with pytest.raises(WorkerError, match=words):
        pool.submit(fail, error=error).future.result(TIMEOUT_SECONDS)


def test_a_task_beyond_its_time_is_stopped(pool):
    with pytest.raises(WorkerError, match="too long"):
        pool.submit(hang, limit_seconds=0.5).future.result(TIMEOUT_SECONDS)
    assert pool.submit(double, value=1).future.result(TIMEOUT_SECONDS) == 2


def test_a_running_task_can_be_cancelled(pool):
    ticket = pool.submit(hang, on_progress=lambda *_: ticket.cancel())
    with pytest.raises(WorkerError, match="stopped"):
        ticket.future.result(TIMEOUT_SECONDS)
    assert ticket.is_cancelled
    assert pool.submit(double, value=1).future.result(TIMEOUT_SECONDS) == 2


def test_a_crash_fails_its_task_alone(pool):
    with pytest.raises(WorkerError, match="exit code 9"):
        pool.submit(crash).future.result(TIMEOUT_SECONDS)
    assert pool.submit(double, value=1).future.result(TIMEOUT_SECONDS) == 2


def test_a_process_that_cannot_be_started_fails_its_task_alone(monkeypatch):
    pool = WorkerPool(1, "test")
    with monkeypatch.context() as patch:
        patch.setattr(workers, "_Process", Mock(side_effect=OSError(11, "Try again")))
        with pytest.raises(WorkerError, match="no worker process"):
            pool.submit(double, value=1).future.result(TIMEOUT_SECONDS)
    assert pool.submit(double, value=1).future.result(TIMEOUT_SECONDS) == 2
    pool.close()


def test_close_ends_what_hangs():
    pool = WorkerPool(1, "test")
    ticket = pool.submit(hang)
    waiting = pool.submit(double, value=1)
    while not ticket.future.running():
        time.sleep(0.01)
    pool.close()
    with pytest.raises(WorkerError):
        ticket.future.result(TIMEOUT_SECONDS)
    with pytest.raises(WorkerError, match="before the task began"):
        waiting.future.result(TIMEOUT_SECONDS)
