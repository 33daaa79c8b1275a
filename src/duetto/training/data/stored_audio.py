"""Recordings as training reads them: arrays in memory, or 16-bit files of which it reads what it draws."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio.atomic import replacing
from duetto.evaluation.tracks import Waveform

FULL_SCALE = 32767
"""The 16-bit sample of a waveform's peak."""


@dataclass(frozen=True)
class StoredFile:
    """A recording on disk; it can be pickled, and processes that read the same parts share the memory.

    Attributes:
        path: a file that `numpy.load` reads, int16 (n_channels, n_samples).
        shape: (n_channels, n_samples).
        peak: the largest magnitude of the waveform, which `FULL_SCALE` stands for.
    """

    path: Path
    shape: tuple[int, int]
    peak: float


Stored = Waveform | StoredFile
"""A recording, (n_channels, n_samples)."""


def take(recorded: Stored, start: int, n_samples: int) -> Waveform:
    """`n_samples` from `start`, round the end to the beginning, float32 (n_channels, n_samples)."""
    if not isinstance(recorded, StoredFile):
        return _wrapped(recorded, start, n_samples)
    samples = _wrapped(np.load(recorded.path, mmap_mode="r"), start, n_samples)
    return samples.astype(np.float32) * np.float32(recorded.peak / FULL_SCALE)


def peak(recorded: Stored) -> float:
    """The largest magnitude of a recording."""
    return recorded.peak if isinstance(recorded, StoredFile) else float(np.abs(recorded).max(initial=0))


def store(folder: Path, name: str, load: Callable[[], Waveform]) -> StoredFile:
    """The recording of that name in a folder, loaded and written first where it is missing.

    Args:
        folder: of the stored recordings; it is made if it is missing.
        name: names all that the samples depend on.
        load: gives the waveform, float32 (n_channels, n_samples).
    """
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy"
    loudest = path.with_suffix(".peak")  # written last: where it is, the samples are whole
    if not loudest.exists():
        waveform = load()
        level = peak(waveform) or 1.0
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, unique=True) as part, part.open("wb") as file:
            np.save(file, np.round(waveform * (FULL_SCALE / level)).astype(np.int16))
        with replacing(loudest, unique=True) as part:
            part.write_text(repr(level), encoding="ascii")
    n_channels, n_samples = np.load(path, mmap_mode="r").shape
    return StoredFile(path, (n_channels, n_samples), float(loudest.read_text(encoding="ascii")))


def _wrapped(samples: NDArray[Any], start: int, n_samples: int) -> NDArray[Any]:
    start %= samples.shape[-1]
    if start + n_samples <= samples.shape[-1]:
        return samples[:, start : start + n_samples]
    return np.take(samples, np.arange(start, start + n_samples), axis=-1, mode="wrap")
