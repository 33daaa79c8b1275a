"""The vocals of a song in segments, several at a time, each from nothing; for any network or method."""

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Waveform, cross_fade, cut, map_ahead
from duetto.dsp.masks import griffin_lim
from duetto.dsp.mid_side import left_and_right, middle_and_side
from duetto.models.registry import MaskEstimator
from duetto.separation.frontend import Analysis
from duetto.separation.live import latency


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """A way through a song of a given sample rate.

    Attributes:
        stages: networks or methods; each takes apart the vocals of the one before it.
        analyses: of each stage, one for each time that it hears a song; the first at the song's own speed.
        segment_seconds: as for `Separator`, and so are the others.
    """

    stages: Sequence[MaskEstimator]
    analyses: Sequence[Sequence[Analysis]]
    segment_seconds: float
    overlap_seconds: float
    griffin_lim_iterations: int
    n_threads: int

    @property
    def _first(self) -> Analysis:
        return self.analyses[0][0]

    @property
    def overlap(self) -> int:
        """Samples that neighbouring segments share."""
        return max(1, round(self.overlap_seconds * self._first.sample_rate))

    @property
    def stride(self) -> int:
        """Samples between segments: all their frames lie on one grid, on which the network looks alike."""
        rate = self._first.sample_rate
        step = self._first.stft.hop_length * self._first.metadata.frame_grid
        return step * max(1, round((self.segment_seconds - self.overlap_seconds) * rate / step))

    @property
    def length(self) -> int:
        """Samples of a segment, and how many may have come in that have not come out."""
        return self.stride + self.overlap

    @property
    def rise(self) -> NDArray[np.float32]:
        """Weight of the later of two segments where they overlap, (overlap,).

        Neither is right at its end, so the fade is short and in the middle. A causal network is right until
        its look-ahead meets the end, but wrong at first, having heard nothing; there the later segment comes
        in late. Measured in benchmarks/stream.py.
        """
        length = -(-self.overlap // 8)
        start = (self.overlap - length) // 2
        if self._first.metadata.causal:
            start = max(0, self.overlap - length - latency(self._first))
        places = np.arange(self.overlap, dtype=np.float32) + np.float32(0.5)
        return np.clip((places - start) / length, 0, 1)

    def vocals(
        self, blocks: Iterable[Waveform], *, n_ahead: int | None = None
    ) -> Generator[Waveform, None, None]:
        """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all.

        Close it (`contextlib.closing`), so that its threads end with it whatever happens. `n_ahead` is how
        many segments are taken before they are due, by default one per thread.
        """
        n_ahead = self.n_threads if n_ahead is None else n_ahead
        segments = (segment for segment, _ in cut(blocks, length=self.length, stride=self.stride))
        threads = ThreadPoolExecutor(self.n_threads)
        try:
            yield from cross_fade(map_ahead(threads, self._separate, segments, n_ahead=n_ahead), self.rise)
        finally:
            threads.shutdown(cancel_futures=True)

    def _separate(self, segment: Waveform) -> Waveform:
        """Segment of the mixture (n_channels, n_samples) to the same of the vocals."""
        segment = middle_and_side(segment)
        for estimator, analyses in zip(self.stages, self.analyses, strict=True):
            passes = [self._masked(estimator, analysis, segment) for analysis in analyses]
            segment = passes[0] if len(passes) == 1 else np.mean(passes, axis=0)
        return left_and_right(segment)

    def _masked(self, estimator: MaskEstimator, analysis: Analysis, segment: Waveform) -> Waveform:
        """The vocals of a segment (n_channels, n_samples) by one estimator's mask."""
        stft, n_samples, n_iter = analysis.stft, segment.shape[-1], self.griffin_lim_iterations
        spectrogram = stft.forward(segment)
        spectrogram = analysis.vocals(spectrogram, estimator.masks(analysis.network_input(spectrogram)))
        if n_iter:
            return griffin_lim(np.abs(spectrogram), spectrogram, stft, n_samples, n_iter=n_iter)
        return stft.inverse(spectrogram, n_samples)
