"""The vocals of a song that is still arriving, frame by frame; for networks that carry a state.

Every frame is a step of its own, so the result does not depend on how the song is cut into blocks.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Waveform
from duetto.dsp.mid_side import left_and_right, middle_and_side
from duetto.dsp.streaming_stft import Frames
from duetto.separation.frontend import Analysis

Spectrum = NDArray[np.complex64]
T = TypeVar("T")


class StepEstimator(Protocol):
    """What a stream needs of a network: a `Bundle` that streams, or a network in training."""

    def step(
        self, magnitude: NDArray[np.float32], state: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The masks of a piece and the state after it; see `Bundle.step`."""


def latency(analysis: Analysis) -> int:
    """How many samples of the song may have come in that have not come out."""
    stft = analysis.stft
    return stft.n_fft + analysis.metadata.look_ahead * stft.hop_length


def live_vocals(
    network: StepEstimator, analysis: Analysis, blocks: Iterable[Waveform]
) -> Generator[Waveform, None, None]:
    """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all.

    They are what one pass of the network over the whole song gives.
    """
    frames = Frames(analysis.stft)
    samples = (samples for samples, _ in frames.cut(map(middle_and_side, blocks), 1))
    masked = _masked(network, analysis, map(frames.stft.forward, samples))
    yield from map(left_and_right, frames.added(masked))


def _masked(network: StepEstimator, analysis: Analysis, spectra: Iterable[Spectrum]) -> Iterator[Spectrum]:
    """Spectra of the mixture (n_channels, n_bins, 1) to those of the vocals."""
    look_back, look_ahead = analysis.metadata.look_back, analysis.metadata.look_ahead
    frames = ((spectrum, analysis.network_input(spectrum)) for spectrum in spectra)
    state = None
    for window in _windows(frames, look_back, look_ahead):
        masks, state = network.step(np.concatenate([seen for _, seen in window], axis=-1), state)
        yield analysis.vocals(window[look_back][0], masks)


def _windows(items: Iterable[T], n_before: int, n_after: int) -> Iterator[deque[T]]:
    """Each item among its neighbours; beyond the ends the first and the last item are repeated."""
    window: deque[T] = deque(maxlen=n_before + 1 + n_after)
    for item in items:
        window.extend([item] * (1 if window else n_before + 1))
        if len(window) == window.maxlen:
            yield window
    for _ in range(n_after if window else 0):
        window.append(window[-1])
        if len(window) == window.maxlen:
            yield window
