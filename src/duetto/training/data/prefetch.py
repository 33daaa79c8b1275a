"""Worker processes that mix batches ahead, so that a training step need not wait for its batch."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from queue import Empty, Full
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from duetto.errors import DuettoError

Waveform = NDArray[np.float32]
Mix = Callable[[int], Waveform]
"""From a step to its batch; it can be pickled, and the batch depends on the step alone."""

POLL_SECONDS = 1.0
"""How often a process that waits for another one checks whether that is still alive."""


class Prefetcher:
    """The batches of consecutive steps, mixed by worker processes, each of which takes every `n_workers`-th.

    A batch depends on its step alone, so what comes is the same however many workers there are.
    """

    def __init__(self, mix: Mix, first_step: int, *, n_workers: int, n_ahead: int = 4) -> None:
        """Start the workers.

        Args:
            mix: gives a step's batch.
            first_step: the step that `next` gives first.
            n_workers: processes.
            n_ahead: finished batches that each of them holds at most.
        """
        context = multiprocessing.get_context("spawn")  # a forked process may not use torch's threads
        self._step = self._first_step = first_step
        self._queues: list[Queue[Waveform | Exception]] = []
        self._workers = []
        for number in range(n_workers):
            queue: Queue[Waveform | Exception] = context.Queue(n_ahead)
            arguments = (mix, first_step + number, n_workers, queue)
            worker = context.Process(target=_work, args=arguments, daemon=True)
            worker.start()
            self._queues.append(queue)
            self._workers.append(worker)

    def next(self) -> Waveform:
        """The batch of the next step.

        Raises:
            DuettoError: a worker process could not mix it, or was killed.
        """
        number = (self._step - self._first_step) % len(self._workers)
        batch = None
        while batch is None:
            alive = self._workers[number].is_alive()
            try:
                batch = self._queues[number].get(timeout=POLL_SECONDS)
            except Empty:
                if not alive:
                    raise DuettoError(
                        f"step {self._step + 1}: a process that mixes training excerpts was killed; "
                        "resume with a lower run.n_workers if memory ran out"
                    ) from None
        if isinstance(batch, Exception):
            raise DuettoError(f"step {self._step + 1}: its excerpts could not be mixed ({batch})") from batch
        self._step += 1
        return batch

    def close(self) -> None:
        """End the workers."""
        for queue, worker in zip(self._queues, self._workers, strict=True):
            worker.terminate()
            worker.join()
            queue.close()
            queue.cancel_join_thread()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _work(mix: Mix, step: int, stride: int, queue: "Queue[Waveform | Exception]") -> None:
    """Mix steps until the training process ends; an error is handed to it."""
    while True:
        try:
            batch: Waveform | Exception = mix(step)
        except Exception as error:  # noqa: BLE001 - the training process raises and reports every failure
            batch = error
        if not _put(queue, batch) or isinstance(batch, Exception):
            return
        step += stride


def _put(queue: "Queue[Waveform | Exception]", batch: Waveform | Exception) -> bool:
    """Wait until there is room in the queue; False if the training process has ended, killed for instance."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        try:
            queue.put(batch, timeout=POLL_SECONDS)
        except Full:
            continue
        return True
    queue.cancel_join_thread()  # nobody reads what is left in it
    return False
