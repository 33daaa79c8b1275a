"""Separates tracks and scores the stems."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from duetto.errors import ConfigError
from duetto.evaluation.bss_eval import global_means, score_track
from duetto.evaluation.oracles import ORACLES
from duetto.evaluation.report import Report, TrackResult
from duetto.evaluation.tracks import Track, TrackAudio
from duetto.separation.separator import Separator

Stems = dict[str, NDArray[np.float32]]


class SeparatesWaveforms(Protocol):
    """Anything that separates a waveform, such as a Separator."""

    def separate(self, audio: ArrayLike, sample_rate: int) -> Stems:
        """Waveform (n_channels, n_samples) to stems of the same shape by name."""


def evaluate(
    separator: SeparatesWaveforms,
    tracks: Sequence[Track],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Separate tracks and score the stems against the references.

    Args:
        separator: the system that is scored.
        tracks: as `load_tracks` gives them.
        jobs: number of tracks that are scored at a time, by default one per core.
        progress: called with the number of finished tracks and of all tracks.

    Returns:
        The report.

    Raises:
        DatasetError: a track that cannot be loaded.
        MetricError: there is no track whose sources all sound.

    Examples:
        >>> import duetto, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> for stem in ("vocals", "accompaniment"):
        ...     n_clipped = duetto.save_audio(f"pairs/{stem}/a.wav", rng.uniform(-0.5, 0.5, 16000), 16000)
        >>> tracks = duetto.load_tracks("pairs", "pairs", split="all")
        >>> [track.name for track in tracks]
        ['a']
        >>> report = duetto.evaluate(duetto.Separator("drnn"), tracks)
        >>> report.means["vocals"].n_tracks
        1
    """
    return evaluate_tracks(partial(_separate, separator), tracks, jobs=jobs, progress=progress)


def _separate(separator: SeparatesWaveforms, audio: TrackAudio) -> Stems:
    return separator.separate(audio.mixture, audio.sample_rate)


def find_system(
    model: str | os.PathLike[str], *, n_passes: int | None = None
) -> tuple[str, Callable[[TrackAudio], Stems]]:
    """Find a system to score: an oracle, a model or a conventional method.

    Args:
        model: its name, or the path of a model file.
        n_passes: as for `Separator`; oracles have no passes.

    Returns:
        Its name, and a function for `evaluate_tracks`.

    Raises:
        ConfigError: an unsupported number of passes.
        ModelError: no such model, or a damaged model file.
    """
    if oracle := ORACLES.get(str(model)):
        if n_passes is not None:
            raise ConfigError(f"n_passes={n_passes}: {oracle.name} is an oracle without passes; leave it out")
        return oracle.name, oracle.separate_track
    separator = Separator(model, n_passes=n_passes)
    return separator.metadata.name, partial(_separate, separator)


def evaluate_tracks(
    separate: Callable[[TrackAudio], Stems],
    tracks: Sequence[Track],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Score a function that is given the references too, as an oracle is; see `evaluate`.

    Args:
        separate: maps a track's audio to its stems.
        tracks: as `load_tracks` gives them.
        jobs: number of tracks that are scored at a time, by default one per core.
        progress: called with the number of finished tracks and of all tracks.
    """

    def score(track: Track) -> TrackResult:
        audio = track.load()
        stems = separate(audio)
        scores = score_track(audio.mixture, audio.sources, stems)
        return TrackResult(track.name, track.song, audio.mixture.shape[-1] / audio.sample_rate, scores)

    results: list[TrackResult] = []
    # with more threads of linear algebra than cores the threads wait for one another
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        for result in threads.map(score, tracks):
            results.append(result)
            if progress:
                progress(len(results), len(tracks))
    return Report(results, global_means([result.scores for result in results]))
