"""A song as a stream of blocks, and the stems that come of it."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from duetto import Separator
from helpers.signals import Waveform, noise


def cut(audio: Waveform, lengths: Iterable[int]) -> Iterator[Waveform]:
    """Consecutive blocks of these lengths."""
    return (audio[:, a:b] for a, b in pairwise(np.cumsum([0, *lengths])))


def streamed(separator: Separator, blocks: Iterable[Waveform], rate: int) -> dict[str, Waveform]:
    """The stems of a stream, joined; no block of them is empty."""
    found = list(separator.stream(blocks, rate))
    assert all(block["vocals"].shape[-1] for block in found)
    return {name: np.concatenate([block[name] for block in found], axis=-1) for name in found[0]}


def lags(separator: Separator, rate: int, block: int, n_blocks: int) -> list[int]:
    """Samples that have come in and not gone out, whenever the stream asks for more."""
    n_in, n_out, found = 0, 0, []

    def blocks() -> Iterator[Waveform]:
        nonlocal n_in
        for _ in range(n_blocks):
            found.append(n_in - n_out)
            n_in += block
            yield noise(1, block)

    for stems in separator.stream(blocks(), rate):
        n_out += stems["vocals"].shape[-1]
    return found
