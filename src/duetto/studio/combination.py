"""Stems added up with gains: a single stem, a balance of both, the mixture, a difference of two estimates."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio import AudioInfo, AudioReader
from duetto.errors import AudioError

Parts = Sequence[tuple[Path, float]]
"""Files and the gains with which they are added."""


class Combination:
    """A weighted sum of files of the same shape, read in blocks and in constant memory.

    Args:
        parts: the files and their gains.

    Attributes:
        info: format of the files.

    Raises:
        AudioError: a file cannot be read, or the files differ in sample rate, channels or length.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._open = ExitStack()
        with ExitStack() as stack:
            self._readers = [stack.enter_context(AudioReader(path)) for path, _ in parts]
            self._open = stack.pop_all()
        self.info: AudioInfo = self._readers[0].info
        for reader in self._readers:
            if _shape(reader.info) != _shape(self.info):
                self._open.close()
                raise AudioError(
                    f"{reader.path} has {_shape(reader.info)}, {self._readers[0].path} {_shape(self.info)} "
                    "(sample rate, channels, samples): only estimates of the same song can be combined"
                )

    def __enter__(self) -> "Combination":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def blocks(self, n_samples: int) -> Iterator[NDArray[np.float64]]:
        """The sum, full scale being 1, in blocks (n_channels, n_samples).

        Integers of up to 32 bits are represented exactly, and so is their sum.
        """
        scales = [
            gain / (1.0 if reader.info.bits is None else 2.0 ** (reader.info.bits - 1))
            for reader, (_, gain) in zip(self._readers, self._parts, strict=True)
        ]
        for blocks in zip(*(reader.blocks(n_samples) for reader in self._readers), strict=True):
            yield _weighted_sum(blocks, scales)


def _weighted_sum(blocks: Sequence[NDArray[Any]], scales: Sequence[float]) -> NDArray[np.float64]:
    total = np.zeros(blocks[0].shape, np.float64)
    for block, scale in zip(blocks, scales, strict=True):
        total += block * scale
    return total


def _shape(info: AudioInfo) -> tuple[int, int, int]:
    return info.sample_rate, info.n_channels, info.n_samples
