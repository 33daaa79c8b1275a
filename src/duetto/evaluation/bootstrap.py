"""Means over tracks with bootstrap intervals over songs, since the clips of one song are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE, N_RESAMPLES, SEED = 0.95, 10_000, 0
INTERVAL = f"95 % by bootstrap over songs, {N_RESAMPLES} resamples, seed {SEED}, percentiles"


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; all three are None if a value is not finite."""

    mean: float | None
    low: float | None
    high: float | None


def interval(
    values: Array, weights: Array, songs: Sequence[str], *, n_resamples: int = N_RESAMPLES, seed: int = SEED
) -> Interval:
    """Weighted mean of values of tracks, and its 95 % interval by resampling songs with replacement.

    A resample has as many songs as there are, each with all its tracks; its mean is weighted alike. The
    interval lies between percentiles (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13).

    Args:
        values: (n_tracks,), or (n_runs, n_tracks) of several training runs, which are resampled as well and
            independently of the songs.
        weights: (n_tracks,), in the mean.
        songs: the song of each track.
        n_resamples: number of resamples.
        seed: of the random resamples.
    """
    if not np.isfinite(values).all():
        return Interval(None, None, None)
    _, of_song = np.unique(np.asarray(songs), return_inverse=True)
    runs = np.atleast_2d(values)
    totals, sums = (
        np.bincount(of_song, weights),
        np.stack([np.bincount(of_song, weights * run) for run in runs]),
    )
    rng = np.random.default_rng(seed)
    song_draws, run_draws = (
        rng.multinomial(n, np.full(n, 1 / n), n_resamples) for n in (totals.size, len(runs))
    )
    means = (song_draws @ sums.T) / (song_draws @ totals)[:, None]
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile((means * run_draws).sum(axis=1) / len(runs), [edge, 1 - edge])
    return Interval(float(np.average(runs.mean(axis=0), weights=weights)), float(low), float(high))
