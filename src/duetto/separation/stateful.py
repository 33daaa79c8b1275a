"""The vocals of a song in pieces, each of which carries on where the one before ended; for networks that can.

All of them together are one pass over the whole song. The network is at the next piece while the one before
is transformed back and used.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Fifo, Waveform, map_ahead
from duetto.dsp.mid_side import left_and_right, middle_and_side
from duetto.dsp.streaming_stft import Frames
from duetto.separation.frontend import Analysis
from duetto.separation.live import latency

Spectrogram = NDArray[np.complex64]


class CarryEstimator(Protocol):
    """What it takes of a network: a `Bundle` that carries, or a network in training."""

    def carry(
        self, spectrogram: Spectrogram, state: Sequence[NDArray[Any]] | None, /, *, follows: bool
    ) -> tuple[Spectrogram, Sequence[NDArray[Any]]]:
        """The next masks and the state after them; see `Bundle.carry`."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A way through a song of a given sample rate.

    Attributes:
        network: what estimates the masks.
        analyses: one for each time that it hears a song; the first at the song's own speed.
        segment_seconds: length of a piece, or as near to it as the network can.
    """

    network: CarryEstimator
    analyses: Sequence[Analysis]
    segment_seconds: float

    @property
    def _n_frames(self) -> int:
        """Frames of a piece."""
        metadata = self.analyses[0].metadata
        step = metadata.frame_grid * metadata.stft.hop_length / metadata.sample_rate
        return max(metadata.first_frames, metadata.frame_grid * round(self.segment_seconds / step))

    @property
    def length(self) -> int:
        """How many samples of the song may have come in that have not come out."""
        return max(
            self._n_frames * analysis.stft.hop_length + latency(analysis) for analysis in self.analyses
        )

    def vocals(self, blocks: Iterable[Waveform], *, n_ahead: int = 1) -> Generator[Waveform, None, None]:
        """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all.

        Close it (`contextlib.closing`), so that its thread ends with it whatever happens. `n_ahead` is how
        many pieces the network takes before they are due.
        """
        copies = _copies(map(middle_and_side, blocks), len(self.analyses))
        thread = ThreadPoolExecutor(1)
        try:
            passes = [
                self._pass(analysis, copy, thread, n_ahead)
                for analysis, copy in zip(self.analyses, copies, strict=True)
            ]
            yield from map(left_and_right, passes[0] if len(passes) == 1 else _mean(passes))
        finally:
            thread.shutdown(cancel_futures=True)

    def _pass(
        self, analysis: Analysis, blocks: Iterable[Waveform], thread: ThreadPoolExecutor, n_ahead: int
    ) -> Iterator[Waveform]:
        frames, carry = Frames(analysis.stft), _Carry(self.network, analysis)
        pieces = frames.cut(blocks, self._n_frames)
        spectra = ((frames.stft.forward(samples), follows) for samples, follows in pieces)
        masked = map_ahead(thread, carry.masks, spectra, n_ahead=n_ahead)
        return frames.added(starmap(analysis.vocals, chain.from_iterable(masked)))


class _Carry:
    """A network on its way through a song, and the frames whose masks it has not given yet."""

    def __init__(self, network: CarryEstimator, analysis: Analysis) -> None:
        self.network, self.analysis = network, analysis
        self.state: Sequence[NDArray[Any]] | None = None
        self.waiting: deque[Spectrogram] = deque()

    def masks(self, piece: tuple[Spectrogram, bool]) -> list[tuple[Spectrogram, Spectrogram]]:
        """The next piece (n_channels, n_bins, n_frames) to the frames whose masks are next, with these.

        They come in parts, for to join them would be to copy them.
        """
        spectrogram, follows = piece
        seen = self.analysis.network_input(spectrogram)
        masks, self.state = self.network.carry(seen, self.state, follows=follows)
        self.waiting.append(spectrogram)
        due = []
        while masks.shape[-1]:
            part = self.waiting.popleft()
            n_frames = min(part.shape[-1], masks.shape[-1])
            due.append((part[..., :n_frames], masks[..., :n_frames]))
            masks = masks[..., n_frames:]
            if n_frames < part.shape[-1]:
                self.waiting.appendleft(part[..., n_frames:])
        return due


def _copies(blocks: Iterator[Waveform], n_copies: int) -> list[Iterator[Waveform]]:
    """As `itertools.tee`, but a block is let go as soon as all have had it."""
    waiting: list[deque[Waveform]] = [deque() for _ in range(n_copies)]

    def copy(own: deque[Waveform]) -> Iterator[Waveform]:
        while True:
            if not own:
                block = next(blocks, None)
                if block is None:
                    return
                for each in waiting:
                    each.append(block)
            yield own.popleft()

    return list(map(copy, waiting))


def _mean(passes: Sequence[Iterator[Waveform]]) -> Iterator[Waveform]:
    """The mean of passes over one song, whose blocks have other lengths but as many samples in all."""
    held, n_held = [Fifo() for _ in passes], np.zeros(len(passes), int)
    while True:
        last = int(n_held.argmin())
        block = next(passes[last], None)
        if block is None:
            return  # as long as any
        held[last].put(block)
        n_held[last] += block.shape[-1]
        if n_due := int(n_held.min()):
            yield np.mean([each.take(n_due) for each in held], axis=0)
            n_held -= n_due
