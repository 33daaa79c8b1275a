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
    """
    if not np.isfinite(values).all():
        return Interval(None, None, None)
    _, of_song = np.unique(np.asarray(songs), return_inverse=True)
    totals, sums = np.bincount(of_song, weights), np.bincount(of_song, weights * values)
    n_songs = totals.size
    draws = np.random.default_rng(seed).multinomial(n_songs, np.full(n_songs, 1 / n_songs), n_resamples)
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws @ sums / (draws @ totals), [edge, 1 - edge])
    return Interval(float(np.average(values, weights=weights)), float(low), float(high))
