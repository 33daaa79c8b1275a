"""How a Separator works, apart from its model: one frozen object, which can be sent to other processes."""

import math
import os
from dataclasses import dataclass
from typing import Literal

from duetto.errors import ConfigError
from duetto.models.metadata import MAX_PASSES

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAX_THREADS = 4  # each may hold a segment, and the memory needed shall not grow with the machine


@dataclass(frozen=True, kw_only=True)
class SeparationSettings:
    """The settings of a `Separator`, those that its model chose included.

    Attributes:
        mask: "ratio", the model's soft mask, or "binary", which gives each bin to the louder source.
        griffin_lim_iterations: iterations of Griffin-Lim that estimate a phase for the vocals; 0 keeps the
            mixture's phase.
        n_passes: passes of test-time augmentation, 1 to 9; 1 with binary masks.
        segment_seconds: length of the segments or chunks that the model takes.
        overlap_seconds: overlap of neighbouring segments, of models without a state.
        n_threads: threads, None for as many as there are cores, but 4 at most.

    Raises:
        ConfigError: a value out of its range.
    """

    mask: Literal["ratio", "binary"] = "ratio"
    griffin_lim_iterations: int = 0
    n_passes: int = 1
    segment_seconds: float
    overlap_seconds: float
    n_threads: int | None = None

    def __post_init__(self) -> None:
        if self.mask not in ("ratio", "binary"):
            raise ConfigError(f"mask={self.mask!r}: choose 'ratio' or 'binary'")
        if self.griffin_lim_iterations < 0:
            raise ConfigError(f"griffin_lim_iterations={self.griffin_lim_iterations}: choose 0 or more")
        if not 1 <= self.n_passes <= (MAX_PASSES if self.mask == "ratio" else 1):
            raise ConfigError(f"n_passes={self.n_passes}: choose 1 to {MAX_PASSES}, or 1 with binary masks")
        if not 0 < 2 * self.overlap_seconds <= self.segment_seconds < math.inf:
            raise ConfigError(
                f"segment_seconds={self.segment_seconds}, overlap_seconds={self.overlap_seconds}: the "
                "overlap must be positive and at most half a segment"
            )
        count_threads(self.n_threads)

    @property
    def threads(self) -> int:
        """How many threads that is on this machine."""
        return count_threads(self.n_threads)


def count_threads(n_threads: int | None) -> int:
    """The number of threads, or how many this machine should use.

    Raises:
        ConfigError: less than 1.
    """
    if n_threads is not None and n_threads < 1:
        raise ConfigError(f"n_threads={n_threads}: choose 1 or more, or leave it out")
    return n_threads or min(N_CORES, MAX_THREADS)
