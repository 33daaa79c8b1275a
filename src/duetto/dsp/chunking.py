"""A stream in pieces: cut into overlapping segments, worked on in parallel, joined with a cross-fade."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
T = TypeVar("T")
U = TypeVar("U")


def cut(blocks: Iterable[Waveform], *, length: int, stride: int) -> Iterator[tuple[Waveform, bool]]:
    """Cut blocks (n_channels, any length) into segments (n_channels, length), one every `stride` samples.

    With each comes whether another follows. The last segment may be shorter, but if it is not the only one
    it is longer than the overlap.
    """
    held: list[Waveform] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += block.shape[-1]
        if n_held > length:
            joined = np.concatenate(held, axis=-1)
            while joined.shape[-1] > length:
                yield joined[:, :length], True
                joined = joined[:, stride:]
            held, n_held = [joined], joined.shape[-1]
    if held:
        yield np.concatenate(held, axis=-1), False


def map_ahead(
    executor: Executor,
    function: Callable[[T], U],
    items: Iterable[T],
    *,
    n_ahead: int,
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

    `rise` is the weight there of the later segment, the earlier one has the rest of 1. The segments are
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


class Fifo:
    """Blocks (n_channels, any length) that went in, taken out again in pieces of other lengths."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[Any]] = deque()

    def put(self, block: NDArray[Any]) -> NDArray[Any]:
        """Keep a block and hand it on."""
        self._blocks.append(block)
        return block

    def take(self, n_samples: int) -> NDArray[Any]:
        """The oldest `n_samples` samples, at least one, of those that are there."""
        pieces = []
        while n_samples > 0:
            block = self._blocks.popleft()
            pieces.append(block[:, :n_samples])
            if block.shape[-1] > n_samples:
                self._blocks.appendleft(block[:, n_samples:])
            n_samples -= block.shape[-1]
        return np.concatenate(pieces, axis=-1)
