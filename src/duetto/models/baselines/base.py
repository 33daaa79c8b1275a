"""What all conventional methods share: a description, and masks of one spectrogram at a time."""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.stft import STFT
from duetto.models.metadata import Input


@dataclass(frozen=True, kw_only=True)
class MethodMetadata:
    """What a method says of itself.

    Attributes:
        name: the name users call it by.
        summary: one line: what it does.
        paper: where it was published.
        stft: its transform at `sample_rate`.
        segment_seconds: a song is worked on in pieces of this length.
        sample_rate: hertz; at another rate the transform covers the same hertz and milliseconds.
        sources: in the order of the masks.
    """

    name: str
    summary: str
    paper: str
    stft: STFT
    segment_seconds: float
    sample_rate: int = 16_000
    sources: Sequence[str] = ("vocals", "accompaniment")
    input: ClassVar[Input] = "magnitude"
    n_channels: ClassVar = 1
    causal: ClassVar = False
    look_ahead: ClassVar = 0
    streams: ClassVar = False
    look_back: ClassVar = 0
    frame_grid: ClassVar = 1
    first_frames: ClassVar = 0
    n_passes: ClassVar = 1
    overlap_seconds: ClassVar = 2.0

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)


class Method(ABC):
    """A mask estimator that is no network.

    Attributes:
        metadata: what it says of itself.
    """

    metadata: MethodMetadata

    def masks(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Magnitude (batch_size, n_bins, n_frames) to masks (batch_size, 2, n_bins, n_frames)."""
        vocals = np.stack([self._scaled(each) for each in magnitude]).astype(np.float32, copy=False)
        return np.stack([vocals, 1 - vocals], axis=1)

    def _scaled(self, magnitude: NDArray[np.float32]) -> NDArray[np.floating]:
        """Bring a magnitude to maximum 1 before it is worked on, so that masks do not depend on loudness."""
        top = magnitude.max(initial=0)
        if top == 0:
            return np.zeros_like(magnitude)
        return self.vocals_mask(magnitude / top)

    @abstractmethod
    def vocals_mask(self, magnitude: NDArray[np.float32]) -> NDArray[np.floating]:
        """Mask of the vocals, in [0, 1] and of the shape of the magnitude (n_bins, n_frames), maximum 1."""
