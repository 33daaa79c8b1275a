"""A synthesised lead: level, length, variety, and a melody within what instruments play."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT

from duetto.training.data.lead import lead

RATE = 16_000


def play(seed: int, n_samples: int = 60_000) -> NDArray[np.float32]:
    return lead(n_samples, RATE, np.random.default_rng(seed))


@pytest.mark.parametrize("n_samples", [100, 7_001, 60_000])
def test_it_has_the_length_asked_for_and_one_level_unless_it_rests(n_samples: int) -> None:
    levels = []
    for seed in range(30):
        played = play(seed, n_samples)
        assert played.shape == (1, n_samples)
        assert played.dtype == np.float32
        levels.append(np.sqrt(np.square(played).mean()))
    played = [level for level in levels if level]
    assert played == pytest.approx([0.1] * len(played), rel=0.02)
    assert len(played) >= 20


def test_the_same_seed_plays_the_same_and_another_something_else() -> None:
    assert np.array_equal(play(3), play(3))
    assert max(abs(np.corrcoef(play(0)[0], play(seed)[0])[0, 1]) for seed in range(1, 12)) < 0.5


def test_its_notes_are_tones_of_more_than_one_pitch() -> None:
    """Most energy of a moment lies on a few lines, and the lowest of them moves from note to note."""
    stft = ShortTimeFFT(np.hanning(2048), 1024, RATE)
    shares, n_pitches = [], []
    for seed in range(30):
        power = np.square(np.abs(stft.stft(play(seed)[0])))
        power = power[:, power.sum(0) > 0.01 * power.sum(0).max()]
        loudest = np.sort(power, axis=0)[-60:].sum(0) / power.sum(0)  # of 1025
        shares.append(np.median(loudest))
        n_pitches.append(len(np.unique(power.argmax(0))))
    assert np.median(shares) > 0.95
    assert np.median(n_pitches) >= 4
