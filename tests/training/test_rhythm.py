"""Synthesised drums, bass and guitar: level, length, variety, and beats where the tempo has them."""

import numpy as np
import pytest

from duetto.training.data.rhythm import rhythm

RATE = 16_000


def play(seed: int, n_samples: int = 60_000):
    return rhythm(n_samples, RATE, np.random.default_rng(seed))


@pytest.mark.parametrize("n_samples", [100, 7_001, 60_000])
def test_it_has_the_length_asked_for_and_one_level(n_samples):
    for seed in range(10):
        played = play(seed, n_samples)
        assert played.shape == (1, n_samples)
        assert played.dtype == np.float32
        level = np.sqrt(np.square(played).mean())
        assert level == pytest.approx(0.1, rel=0.05)


def test_the_same_seed_plays_the_same_and_another_something_else():
    assert np.array_equal(play(3), play(3))
    alike = [abs(np.corrcoef(play(0)[0], play(seed)[0])[0, 1]) for seed in range(1, 12)]
    assert max(alike) < 0.5


def test_it_repeats_at_a_tempo_between_70_and_180(rng):
    found, by_chance = [], []
    for seed in range(30):
        power = np.square(play(seed, 16 * RATE)[0]).reshape(-1, 160).mean(axis=1)  # every 10 ms
        onsets = np.maximum(np.diff(np.log(power + 1e-6)), 0)
        onsets -= onsets.mean()
        for series, likenesses in ((onsets, found), (rng.permutation(onsets), by_chance)):
            likeness = np.correlate(series, series, "full")[series.size - 1 :]
            beats = np.arange(33, 87)  # 180 to 70 a minute, in steps of 10 ms
            likenesses.append(likeness[beats].max() / likeness[0])
    assert np.median(found) > 2.5 * np.median(by_chance)


def test_it_has_a_bass_and_cymbals():
    low, high = [], []
    for seed in range(20):
        power = np.square(np.abs(np.fft.rfft(play(seed)[0])))
        hertz = np.fft.rfftfreq(60_000, 1 / RATE)
        low.append(power[hertz < 200].sum() / power.sum())
        high.append(power[hertz > 4000].sum() / power.sum())
    assert np.median(low) > 0.2
    assert max(high) > 0.02


def test_a_bass_may_miss_all_of_its_beats():
    """Each beat is left out with a chance of 7 %; this seed leaves out both of them."""
    played = rhythm(800, 8000, np.random.default_rng(1146))
    assert played.shape == (1, 800)
    assert np.isfinite(played).all()
