"""Separation in chunks by a model that carries a state from each to the next, live or offline.

All chunks together are one pass over the whole song. Offline the network works on the next chunk while the
one before is transformed back and written; live it does not wait for what comes next.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import SampleQueue, Waveform, map_ahead
from duetto.dsp.mid_side import to_left_right, to_mid_side
from duetto.dsp.streaming_stft import StreamingSTFT
from duetto.models.registry import StatefulModel
from duetto.separation.frontend import Frontend, Spectrogram


@dataclass(frozen=True, kw_only=True)
class StatefulInference:
    """Separation of songs of one sample rate by a stateful model.

    Attributes:
        model: the model.
        frontends: one for each pass of test-time augmentation; the first at the song's own speed.
        n_frames: in a chunk, a multiple of the model's `frame_grid`; the result does not depend on it.
        n_ahead: how many chunks are taken before they are due: 1, or 0 for a live stream.
    """

    model: StatefulModel
    frontends: Sequence[Frontend]
    n_frames: int
    n_ahead: int

    @property
    def _n_first_frames(self) -> int:
        return max(self.n_frames, self.model.metadata.first_frames)

    @property
    def latency(self) -> int:
        """Samples of the song that may have come in and not gone out."""
        return max(map(self._latency, self.frontends))

    def _latency(self, frontend: Frontend) -> int:
        hop, n_fft = frontend.stft.hop_length, frontend.stft.n_fft
        before_any = n_fft // 2 + (self._n_first_frames - 1) * hop
        return max(before_any, (self.n_frames - 1) * hop + frontend.latency)

    def vocals(self, blocks: Iterable[Waveform]) -> Generator[Waveform, None, None]:
        """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all.

        Close it (`contextlib.closing`), so that its thread ends with it whatever happens.
        """
        copies = _copies(map(to_mid_side, blocks), len(self.frontends))
        thread = ThreadPoolExecutor(1)
        try:
            passes = [
                self._pass(frontend, copy, thread)
                for frontend, copy in zip(self.frontends, copies, strict=True)
            ]
            yield from map(to_left_right, passes[0] if len(passes) == 1 else _mean(passes))
        finally:
            thread.shutdown(cancel_futures=True)

    def _pass(
        self, frontend: Frontend, blocks: Iterable[Waveform], thread: ThreadPoolExecutor
    ) -> Iterator[Waveform]:
        stft, steps = StreamingSTFT(frontend.stft), _Steps(self.model, frontend)
        chunks = stft.forward(blocks, n_frames=self.n_frames, n_first_frames=self._n_first_frames)
        masked = map_ahead(thread, steps, chunks, n_ahead=self.n_ahead)
        return stft.inverse(starmap(frontend.vocals, chain.from_iterable(masked)))


class _Steps:
    """The steps of a model through one song, and the frames whose masks have not come yet."""

    def __init__(self, model: StatefulModel, frontend: Frontend) -> None:
        self._model, self._frontend = model, frontend
        self._state: Sequence[NDArray[Any]] | None = None
        self._waiting: deque[Spectrogram] = deque()

    def __call__(self, chunk: tuple[Spectrogram, bool]) -> list[tuple[Spectrogram, NDArray[Any]]]:
        """The next chunk (n_channels, n_frames, n_bins) to the frames whose masks are next, with these.

        They come in parts, for to join them would be to copy them.
        """
        spectrogram, is_last = chunk
        x = self._frontend.network_input(spectrogram)
        masks, self._state = self._model.step(x, self._state, is_last=is_last)
        self._waiting.append(spectrogram)
        due = []
        while masks.shape[-2]:
            part = self._waiting.popleft()
            n_frames = min(part.shape[-2], masks.shape[-2])
            due.append((part[:, :n_frames], masks[..., :n_frames, :]))
            masks = masks[..., n_frames:, :]
            if n_frames < part.shape[-2]:
                self._waiting.appendleft(part[:, n_frames:])
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
    queues, n_queued = [SampleQueue() for _ in passes], np.zeros(len(passes), int)
    while True:
        last = int(n_queued.argmin())
        block = next(passes[last], None)
        if block is None:
            return  # as long as any
        queues[last].put(block)
        n_queued[last] += block.shape[-1]
        if n_due := int(n_queued.min()):
            yield np.mean([each.take(n_due) for each in queues], axis=0)
            n_queued -= n_due
