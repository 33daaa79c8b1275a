"""Separator: blocks of a song -> network -> masks -> overlap-add -> stems, in constant memory."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from duetto._segments import Fifo, Waveform, cross_fade, cut, map_ahead
from duetto._waveform import check_sample_rate
from duetto.audio import AudioReader, check_waveform, load_audio, to_float
from duetto.bundle import DEFAULT_MODEL
from duetto.errors import AudioError, ConfigError
from duetto.estimators import MaskEstimator, find_estimators
from duetto.masks import binary_masks, griffin_lim
from duetto.stem_files import DEFAULT_OPTIONS, FileOptions, SeparatedFile, StemFiles
from duetto.stft import STFT

Progress = Callable[[int, int], None]

_BLOCK_SECONDS = 4
_N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_N_THREADS = min(_N_CORES, 4)  # each holds a segment, and the memory needed shall not grow with the machine


class Separator:
    """Takes a song of any sample rate, length and number of channels apart into vocals and accompaniment.

    The network estimates the vocals; the accompaniment is the remainder, so the stems sum to the mixture.

    Args:
        model: name of a bundle that ships or of a conventional method, path of a bundle, or an open network.
        mask: "ratio", the network's soft mask, or "binary", the louder source takes all.
        griffin_lim_rounds: 0 keeps the mixture's phase; n finds the vocals' own phase in n rounds.
        segment_seconds: length of the pieces that the network sees, by default what it likes best; the
            memory needed grows with it.
        overlap_seconds: neighbouring pieces are cross-faded over so long.

    Attributes:
        metadata: what the network says of itself.

    Raises:
        ModelError: no such bundle, or a damaged one.
        ConfigError: an option out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | MaskEstimator = DEFAULT_MODEL,
        *,
        mask: Literal["ratio", "binary"] = "ratio",
        griffin_lim_rounds: int = 0,
        segment_seconds: float | None = None,
        overlap_seconds: float = 1.0,
    ) -> None:
        if mask not in ("ratio", "binary"):
            raise ConfigError(f"mask={mask!r}: choose 'ratio' or 'binary'")
        if griffin_lim_rounds < 0:
            raise ConfigError(f"griffin_lim_rounds={griffin_lim_rounds}: choose 0 or more")
        self._stages: Sequence[MaskEstimator] = (
            find_estimators(model) if isinstance(model, str | os.PathLike) else [model]
        )
        self.metadata = self._stages[0].metadata
        if segment_seconds is None:
            segment_seconds = self.metadata.segment_seconds
        if not 0 < 2 * overlap_seconds <= segment_seconds < math.inf:
            raise ConfigError(
                f"segment_seconds={segment_seconds}, overlap_seconds={overlap_seconds}: the overlap must be "
                "positive and at most half a segment"
            )
        self.model = model
        self.mask = mask
        self.griffin_lim_rounds = griffin_lim_rounds
        self.segment_seconds = segment_seconds
        self.overlap_seconds = overlap_seconds

    def separate(
        self, audio: ArrayLike, sample_rate: int, *, progress: Progress | None = None
    ) -> dict[str, Waveform]:
        """Take a waveform apart.

        Args:
            audio: float (n_channels, n_samples) or (n_samples,), full scale 1; it is not modified.
            sample_rate: hertz.
            progress: called with the number of samples done and of all samples.

        Returns:
            "vocals" and "accompaniment", float32 of the shape of `audio`, summing to it.

        Raises:
            AudioError: a waveform or sample rate that the gate refuses.
        """
        waveform, sample_rate = check_waveform(audio), check_sample_rate(sample_rate, "the waveform")
        starts = range(0, waveform.shape[-1], _BLOCK_SECONDS * sample_rate)
        blocks = (waveform[:, start : start + starts.step] for start in starts)
        vocals, done = np.empty_like(waveform), 0
        for piece in self._vocals(blocks, sample_rate):
            vocals[:, done : done + piece.shape[-1]] = piece
            done += piece.shape[-1]
            if progress:
                progress(done, waveform.shape[-1])
        stems = {"vocals": vocals, "accompaniment": waveform - vocals}
        return {name: stem.reshape(np.shape(audio)) for name, stem in stems.items()}

    def stream(self, blocks: Iterable[ArrayLike], sample_rate: int) -> Iterator[dict[str, Waveform]]:
        """Take a stream of blocks apart, in constant memory.

        Args:
            blocks: consecutive blocks, each (n_channels, n_samples) of any length.
            sample_rate: hertz.

        Yields:
            Consecutive blocks of stems. Their lengths differ from the input's; joined they are what
            `separate` gives for the joined input.

        Raises:
            AudioError: a block that the gate refuses.
        """
        mixture, sample_rate = Fifo(), check_sample_rate(sample_rate, "the stream")
        for vocals in self._vocals(map(mixture.put, _checked(blocks)), sample_rate):
            yield {"vocals": vocals, "accompaniment": mixture.take(vocals.shape[-1]) - vocals}

    def separate_file(
        self,
        song: str | os.PathLike[str],
        out: str | os.PathLike[str] = "separated",
        options: FileOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> SeparatedFile:
        """Take a file apart into files, in constant memory.

        Args:
            song: path of an audio file.
            out: folder for the stems; it is made, and files appear in it only when they are complete.
            options: what is written.
            progress: called with the number of samples done and of all samples.

        Returns:
            The paths, peaks, the null residual, and what was clipped.

        Raises:
            AudioError: the song cannot be read or a stem cannot be written; no partial file is left.
            ConfigError: a template that cannot be used, or options that the song or the format cannot meet.
        """
        with AudioReader(song) as reader:
            info = reader.info
            stems = StemFiles(Path(song), info, model=self.metadata.name, out=out, options=options)
            with stems:
                mixture, done = Fifo(), 0
                read = reader.blocks(_BLOCK_SECONDS * info.sample_rate, stems.start, stems.stop)
                floats = (to_float(block, info.bits) for block in map(mixture.put, read))
                for vocals in self._vocals(floats, info.sample_rate):
                    stems.write(mixture.take(vocals.shape[-1]), vocals)
                    done += vocals.shape[-1]
                    if progress:
                        progress(done, stems.stop - stems.start)
        return stems.result

    def _vocals(self, blocks: Iterable[Waveform], sample_rate: int) -> Iterator[Waveform]:
        """Blocks (n_channels, any length) of the mixture to blocks of the vocals, as many samples in all."""
        hop_length = _song_stft(self._stages[0], sample_rate).hop_length
        overlap = max(1, round(self.overlap_seconds * sample_rate))
        hops = max(1, round((self.segment_seconds - self.overlap_seconds) * sample_rate / hop_length))
        stride = hops * hop_length  # a whole number of hops: the frames of all segments lie on one grid
        segments = cut(blocks, length=stride + overlap, stride=stride)
        with ThreadPoolExecutor(_N_THREADS) as threads:
            separated = map_ahead(threads, partial(self._separate, sample_rate), segments, n_ahead=_N_THREADS)
            yield from cross_fade(separated, overlap)

    def _separate(self, sample_rate: int, segment: Waveform) -> Waveform:
        """Segment of the mixture (n_channels, n_samples) to the same of the vocals."""
        for estimator in self._stages:
            segment = self._masked(estimator, _song_stft(estimator, sample_rate), segment)
        return segment

    def _masked(self, estimator: MaskEstimator, stft: STFT, segment: Waveform) -> Waveform:
        """The vocals of a segment (n_channels, n_samples) by one estimator's mask."""
        metadata = estimator.metadata
        scale = metadata.stft.window_values.sum() / stft.window_values.sum()
        spectrogram = stft.forward(segment)
        magnitude = _network_input(spectrogram, metadata.stft.n_bins) * scale
        masks = dict(zip(metadata.sources, estimator.masks(magnitude[None])[0], strict=True))
        if self.mask == "binary":
            masks = binary_masks(masks)
        spectrogram *= _extend(masks["vocals"], stft.n_bins)
        n_samples, n_iter = segment.shape[-1], self.griffin_lim_rounds
        if n_iter:
            return griffin_lim(np.abs(spectrogram), spectrogram, stft, n_samples, n_iter=n_iter)
        return stft.inverse(spectrogram, n_samples)


def _song_stft(estimator: MaskEstimator, sample_rate: int) -> STFT:
    """The estimator's transform at the rate of the song."""
    return estimator.metadata.stft.resampled(estimator.metadata.sample_rate, sample_rate)


def _network_input(spectrogram: NDArray[np.complex64], n_bins: int) -> NDArray[np.float32]:
    """Magnitude (n_bins, n_frames) of all channels together, on the network's frequency axis.

    Mostly their mean, in which a voice in the middle stands out. A tenth of their mean power is added, so
    that channels of opposite sign do not cancel. Measured in benchmarks/stereo.py.
    """
    seen = spectrogram[:, :n_bins]
    mean = seen.mean(axis=0)
    power = (seen.real**2 + seen.imag**2).mean(axis=0)
    magnitude = np.sqrt(0.9 * (mean.real**2 + mean.imag**2) + 0.1 * power)
    return np.pad(magnitude, [(0, n_bins - magnitude.shape[0]), (0, 0)])


def _extend(mask: NDArray[np.float32], n_bins: int) -> NDArray[np.float32]:
    """Bring a mask (network's n_bins, n_frames) to `n_bins`.

    Above the network's band it goes on as the mean of its top eighth.
    """
    n_above = n_bins - mask.shape[0]
    if n_above <= 0:
        return mask[:n_bins]
    top = mask[-(mask.shape[0] // 8) :].mean(axis=0)
    return np.concatenate([mask, np.broadcast_to(top, (n_above, top.size))])


def _checked(blocks: Iterable[ArrayLike]) -> Iterator[Waveform]:
    n_channels = None
    for block in blocks:
        # a copy, since the caller may read the next block into the same memory
        waveform = np.array(check_waveform(block))
        if n_channels not in (None, len(waveform)):
            raise AudioError(
                f"a block has {len(waveform)} channels, those before it {n_channels}; keep to one"
            )
        n_channels = len(waveform)
        yield waveform


@lru_cache(maxsize=1)
def _default_separator() -> Separator:
    return Separator()


def separate(song: str | os.PathLike[str]) -> dict[str, Waveform]:
    """Take a song apart with the default bundle.

    Args:
        song: path of an audio file.

    Returns:
        "vocals" and "accompaniment", each float32 (n_channels, n_samples), at the song's sample rate.

    Raises:
        AudioError: the song cannot be read.
    """
    return _default_separator().separate(*load_audio(song))
