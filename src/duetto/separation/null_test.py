"""The null test: whether stems sum to their mixture, in integers where all are integers."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio import AUDIO_SUFFIXES, AudioInfo, AudioReader
from duetto.errors import AudioError
from duetto.separation.remainder import to_real

_BLOCK = 65_536  # samples


@dataclass(frozen=True)
class FileCheck:
    """One file of a null test.

    Attributes:
        path: the file.
        info: its format and length.
        peak: its largest absolute sample, full scale being 1.
        n_clipped: its samples at or beyond full scale, in runs of two or more.
    """

    path: Path
    info: AudioInfo
    peak: float
    n_clipped: int


@dataclass(frozen=True)
class NullTest:
    """The result of a null test.

    Attributes:
        mixture: the song.
        stems: its stems.
        bits: the depth in which `residual` counts, where all files hold integers; else None.
        residual: the largest |sum of the stems - mixture|, in steps of depth `bits`, or full scale being 1.
        n_beyond: samples whose residual exceeds what exact stems may have: 0 for integers; for floats one
            unit in the last place of float32, at the magnitude of the largest sample there.
        lossy: files that are coded with loss, of which no exact sum can be expected.
        disagreements: lengths, sample rates and channels that are not the mixture's.
    """

    mixture: FileCheck
    stems: tuple[FileCheck, ...]
    bits: int | None
    residual: float
    n_beyond: int
    lossy: tuple[Path, ...]
    disagreements: tuple[str, ...]

    @property
    def residual_dbfs(self) -> float:
        """The residual in dB relative to full scale; -inf where there is none."""
        full_scale = 1.0 if self.bits is None else 2.0 ** (self.bits - 1)
        return 20 * math.log10(self.residual / full_scale) if self.residual else -math.inf

    def passes(self, tolerance_dbfs: float | None = None) -> bool:
        """Whether the stems sum to the mixture, exactly or within a tolerance in dB below full scale."""
        if self.disagreements:
            return False
        return self.n_beyond == 0 if tolerance_dbfs is None else self.residual_dbfs <= tolerance_dbfs


def null_test(
    stems: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], mixture: str | os.PathLike[str]
) -> NullTest:
    """Compare the sum of stems with their mixture.

    Args:
        stems: their paths, or a folder whose audio files they are.
        mixture: path of the song.

    Raises:
        AudioError: a file cannot be read, or the folder holds none.
    """
    paths = _stem_files(stems)
    with ExitStack() as stack:
        readers = [stack.enter_context(AudioReader(path)) for path in (Path(mixture), *paths)]
        depths = [reader.info.bits for reader in readers]
        bits = None if None in depths else max(depth for depth in depths if depth)
        meters = [_Meter(reader.info) for reader in readers]
        residual, n_beyond = 0.0, 0
        for blocks in zip_longest(*(reader.blocks(_BLOCK) for reader in readers)):
            for meter, block in zip(meters, blocks, strict=True):
                if block is not None:
                    meter.update(block)
            if len({None if block is None else block.shape for block in blocks}) == 1:
                block_residual, block_beyond = _compare(blocks, depths, bits)
                residual, n_beyond = max(residual, block_residual), n_beyond + block_beyond
        files = [meter.report(reader.path) for meter, reader in zip(meters, readers, strict=True)]
    lossy = tuple(file.path for file in files if file.info.lossy)
    whole, *parts = files
    return NullTest(whole, tuple(parts), bits, residual, n_beyond, lossy, tuple(_disagreements(whole, parts)))


def _stem_files(stems: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> list[Path]:
    if not isinstance(stems, str | os.PathLike):
        paths = [Path(stem) for stem in stems]
    elif Path(stems).is_dir():
        paths = sorted(path for path in Path(stems).iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    else:
        paths = [Path(stems)]
    if not paths:
        raise AudioError(f"{stems} holds no audio files; name the stems, or the folder that they are in")
    return paths


class _Meter:
    """Measures a file while its blocks pass."""

    def __init__(self, info: AudioInfo) -> None:
        self._info = info
        self._full_scale = 1.0 if info.bits is None else 2.0 ** (info.bits - 1)
        self._peak, self._n_clipped, self._n_samples = 0.0, 0, 0
        self._at_limit = np.zeros((info.n_channels, 2), bool)  # of the last two samples

    def update(self, block: NDArray[Any]) -> None:
        """Measure a block."""
        low, high = float(block.min()), float(block.max())
        self._peak = max(self._peak, -low / self._full_scale, high / self._full_scale)
        self._n_samples += block.shape[1]
        top = self._full_scale - (self._info.bits is not None)
        at_limit = np.concatenate([self._at_limit, (block >= top) | (block <= -self._full_scale)], axis=1)
        beside = at_limit[:, :-2] | at_limit[:, 2:]
        self._n_clipped += int(np.count_nonzero(at_limit[:, 1:-1] & beside))
        self._at_limit = at_limit[:, -2:]

    def report(self, path: Path) -> FileCheck:
        """The result for the whole file."""
        n_clipped = self._n_clipped + int(np.count_nonzero(self._at_limit.all(axis=1)))
        return FileCheck(path, replace(self._info, n_samples=self._n_samples), self._peak, n_clipped)


def _compare(
    blocks: Sequence[NDArray[Any]], depths: Sequence[int | None], bits: int | None
) -> tuple[float, int]:
    """The residual of a block of the mixture and its stems, and in how many samples it is too large."""
    if bits is not None:
        mixture, *stems = (
            block.astype(np.int64) << (bits - (depth or bits))
            for block, depth in zip(blocks, depths, strict=True)
        )
        residual = np.abs(np.sum(stems, axis=0) - mixture)
        return float(residual.max()), int(np.count_nonzero(residual))
    mixture, *stems = (to_real(block, depth) for block, depth in zip(blocks, depths, strict=True))
    residual = np.abs(np.sum(stems, axis=0, dtype=np.float64) - mixture)
    largest = np.max(np.abs([mixture, *stems]), axis=0).astype(np.float32)
    return float(residual.max()), int(np.count_nonzero(residual > np.spacing(largest)))


def _disagreements(whole: FileCheck, parts: Sequence[FileCheck]) -> Iterator[str]:
    for part in parts:
        for what, got, wanted in (
            ("samples", part.info.n_samples, whole.info.n_samples),
            ("Hz", part.info.sample_rate, whole.info.sample_rate),
            ("channels", part.info.n_channels, whole.info.n_channels),
        ):
            if got != wanted:
                yield f"{part.path} has {got} {what}, the mixture {wanted}"
