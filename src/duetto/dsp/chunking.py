"""A stream in chunks: cut into overlapping segments, processed in parallel, joined with a cross-fade."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
T = TypeVar("T")
U = TypeVar("U")


def cut(blocks: Iterable[Waveform], sizes: Iterator[tuple[int, int]]) -> Iterator[tuple[Waveform, bool]]:
    """Cut blocks (n_channels, any length) into chunks, and tell of each whether it is the last.

    Args:
        blocks: consecutive blocks.
        sizes: of each chunk its length in samples and how many samples later the next one begins.

    Yields:
        Chunks (n_channels, length) and False; at the end one that may be shorter and True. If it is not the
        only one it is longer than the overlap.
    """
    held: list[Waveform] = []
    n_held = 0
    length, stride = next(sizes)
    for block in blocks:
        held.append(block)
        n_held += block.shape[-1]
        if n_held > length:
            joined = np.concatenate(held, axis=-1)
            while joined.shape[-1] > length:
                yield joined[:, :length], False
                joined = joined[:, stride:]
                length, stride = next(sizes)
            held, n_held = [joined], joined.shape[-1]
    if held:
        yield np.concatenate(held, axis=-1), True


def map_ahead(
    executor: Executor, function: Callable[[T], U], items: Iterable[T], *, n_ahead: int
) -> Iterator[U]:
    """Results in order, as from `Executor.map`, but only `n_ahead` items are taken before they are due."""
    pending: deque[Future[U]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) > n_ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def cross_fade(segments: Iterable[Waveform], rise: NDArray[np.float32]) -> Iterator[Waveform]:
    """Join segments, each overlapping the next by as many samples as `rise` has.

    `rise` is the weight of the later segment there, 1 - `rise` that of the earlier one. The segments are
    modified.
    """
    overlap = len(rise)
    tail: Waveform | None = None
    for segment in segments:
        if tail is not None:
            segment[:, :overlap] *= rise
            segment[:, :overlap] += tail * (1 - rise)
        if segment.shape[-1] > overlap:
            yield segment[:, :-overlap]
        tail = segment[:, -overlap:]
    if tail is not None:
        yield tail


class SampleQueue:
    """A first-in, first-out queue of samples: blocks of any length in, blocks of other lengths out."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[Any]] = deque()

    def put(self, block: NDArray[Any]) -> NDArray[Any]:
        """Append a block (n_channels, n_samples), and return it."""
        self._blocks.append(block)
        return block

    def take(self, n_samples: int) -> NDArray[Any]:
        """Remove the oldest `n_samples` samples, at least one, of those in the queue."""
        parts = []
        while n_samples > 0:
            block = self._blocks.popleft()
            parts.append(block[:, :n_samples])
            if block.shape[-1] > n_samples:
                self._blocks.appendleft(block[:, n_samples:])
            n_samples -= block.shape[-1]
        return np.concatenate(parts, axis=-1)
