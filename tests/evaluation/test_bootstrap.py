"""Bootstrap intervals over songs."""

import numpy as np
import pytest

from duetto.evaluation.bootstrap import interval


@pytest.mark.slow
def test_the_interval_covers_the_true_mean_95_times_in_100(rng: np.random.Generator) -> None:
    """40 songs whose clips are alike: the songs are the sample, not the clips."""
    covered = {"songs": 0, "clips": 0}
    for _ in range(200):
        song_means = rng.normal(3.0, 2.0, 40)
        of_song = np.repeat(np.arange(40), 5)
        values = song_means[of_song] + rng.normal(0, 0.5, 200)
        weights = rng.uniform(4, 13, 200)
        for kind, groups in (("songs", of_song), ("clips", np.arange(200))):
            found = interval(values, weights, [str(group) for group in groups], n_resamples=500)
            covered[kind] += found.low < 3.0 < found.high
    assert 180 <= covered["songs"] <= 199
    assert covered["clips"] < 150  # what would be claimed if clips were independent


def test_the_mean_is_weighted_and_the_interval_repeats() -> None:
    values, weights, songs = np.array([1.0, 2.0, 5.0]), np.array([1.0, 1.0, 2.0]), ["a", "a", "b"]
    found = interval(values, weights, songs)
    assert found.mean == pytest.approx(3.25)
    assert (found.low, found.high) == (1.5, 5.0)  # one song drawn twice
    assert found == interval(values, weights, songs)
    assert found != interval(values, weights, ["a", "b", "c"])


def test_equal_values_have_no_spread_and_infinite_ones_no_interval() -> None:
    songs = ["a", "b", "c"]
    same = interval(np.full(3, 2.5), np.array([1.0, 2.0, 3.0]), songs)
    assert (same.mean, same.low, same.high) == pytest.approx((2.5, 2.5, 2.5))
    silent = interval(np.array([1.0, -np.inf, 2.0]), np.ones(3), songs)
    assert (silent.mean, silent.low, silent.high) == (None, None, None)


def test_runs_that_differ_widen_the_interval_and_equal_ones_do_not(rng: np.random.Generator) -> None:
    values, weights, songs = rng.normal(5, 1, 60), np.ones(60), [str(song) for song in range(60)]
    one = interval(values, weights, songs)
    same = interval(np.stack([values] * 3), weights, songs)
    assert (same.mean, same.low, same.high) == pytest.approx((one.mean, one.low, one.high))
    apart = interval(np.stack([values - 1, values, values + 1]), weights, songs)
    assert apart.mean == pytest.approx(one.mean)
    # the standard deviation of the mean of three resampled runs is sqrt(2 / 3) / sqrt(3)
    half = np.hypot(1.96 * np.sqrt(2) / 3, (one.high - one.low) / 2)
    assert (apart.high - apart.low) / 2 == pytest.approx(half, rel=0.1)
