"""Separation in overlapping segments, several at a time, by models without a state."""

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.chunking import Waveform, cross_fade, cut, map_ahead
from duetto.dsp.masks import griffin_lim
from duetto.dsp.mid_side import to_left_right, to_mid_side
from duetto.models.registry import MaskModel
from duetto.separation.frontend import Frontend
from duetto.separation.settings import SeparationSettings


@dataclass(frozen=True, kw_only=True)
class OverlapAdd:
    """Separation of songs of one sample rate in overlapping segments, each independent of the others.

    Attributes:
        stages: models; each separates the vocals of the one before it.
        frontends: of each stage, one for each pass of test-time augmentation; the first at the song's own
            speed.
        settings: of the Separator.
        n_ahead: how many segments are taken before they are due: the number of threads, or 0 for a live
            stream.
    """

    stages: Sequence[MaskModel]
    frontends: Sequence[Sequence[Frontend]]
    settings: SeparationSettings
    n_ahead: int

    @property
    def overlap(self) -> int:
        """Samples in which neighbouring segments overlap."""
        return max(1, round(self.settings.overlap_seconds * self.frontends[0][0].sample_rate))

    @property
    def stride(self) -> int:
        """Samples between segments: a multiple of the hop length and the frame grid of the first model."""
        first, settings = self.frontends[0][0], self.settings
        step = first.stft.hop_length * first.metadata.frame_grid
        seconds = settings.segment_seconds - settings.overlap_seconds
        return step * max(1, round(seconds * first.sample_rate / step))

    @property
    def latency(self) -> int:
        """Samples of the song that may have come in and not gone out: a segment."""
        return self.stride + self.overlap

    @property
    def rise(self) -> NDArray[np.float32]:
        """Weight of the later of two segments where they overlap, (overlap,).

        Neither is right at its end, so the cross-fade is short and in the middle.
        """
        length = -(-self.overlap // 8)
        start = (self.overlap - length) // 2
        places = np.arange(self.overlap, dtype=np.float32) + np.float32(0.5)
        return np.clip((places - start) / length, 0, 1)

    def vocals(self, blocks: Iterable[Waveform]) -> Generator[Waveform, None, None]:
        """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all.

        Close it (`contextlib.closing`), so that its threads end with it whatever happens.
        """
        segments = (segment for segment, _ in cut(blocks, repeat((self.latency, self.stride))))
        threads = ThreadPoolExecutor(self.settings.threads)
        try:
            separated = map_ahead(threads, self._separate, segments, n_ahead=self.n_ahead)
            yield from cross_fade(separated, self.rise)
        finally:
            threads.shutdown(cancel_futures=True)

    def _separate(self, segment: Waveform) -> Waveform:
        """Segment of the mixture (n_channels, n_samples) to the same of the vocals."""
        segment = to_mid_side(segment)
        for model, frontends in zip(self.stages, self.frontends, strict=True):
            passes = [self._masked(model, frontend, segment) for frontend in frontends]
            segment = passes[0] if len(passes) == 1 else np.mean(passes, axis=0)
        return to_left_right(segment)

    def _masked(self, model: MaskModel, frontend: Frontend, segment: Waveform) -> Waveform:
        """The vocals of a segment (n_channels, n_samples) by one model's masks."""
        stft, n_samples, n_iter = frontend.stft, segment.shape[-1], self.settings.griffin_lim_iterations
        spectrogram = stft.forward(segment)
        spectrogram = frontend.vocals(spectrogram, model.masks(frontend.network_input(spectrogram)))
        if n_iter:
            return griffin_lim(np.abs(spectrogram), spectrogram, stft, n_samples, n_iter=n_iter)
        return stft.inverse(spectrogram, n_samples)
