"""Synthesised rhythm sections and leads: level, length, variety, tempo, and pitches."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT

from duetto.training.data.synthesis import _melody, lead, rhythm
from helpers.quick import first

RATE = 16_000
SYNTHESISERS = pytest.mark.parametrize("synthesise", [rhythm, lead])


def play(synthesise: Callable[..., NDArray], seed: int, n_samples: int = 60_000) -> NDArray[np.float32]:
    return synthesise(n_samples, RATE, np.random.default_rng(seed))


@SYNTHESISERS
@pytest.mark.parametrize("n_samples", first(1, 100, 7_001, 60_000))
def test_it_has_the_length_asked_for_and_one_level_unless_a_lead_rests(
    synthesise: Callable[..., NDArray], n_samples: int
) -> None:
    levels = []
    for seed in range(20):
        played = play(synthesise, seed, n_samples)
        assert played.shape == (1, n_samples)
        assert played.dtype == np.float32
        levels.append(np.sqrt(np.square(played).mean()))
    sounding = [level for level in levels if level]
    assert sounding == pytest.approx([0.1] * len(sounding), rel=0.05)
    assert len(sounding) >= (20 if synthesise is rhythm else 13)


@SYNTHESISERS
def test_the_same_seed_gives_the_same_and_another_something_else(synthesise: Callable[..., NDArray]) -> None:
    first = play(synthesise, 0)
    assert np.array_equal(first, play(synthesise, 0))
    assert max(abs(np.corrcoef(first[0], play(synthesise, seed)[0])[0, 1]) for seed in range(1, 5)) < 0.5


@pytest.mark.slow
def test_a_rhythm_repeats_at_a_tempo_between_70_and_180(rng: np.random.Generator) -> None:
    found, by_chance = [], []
    for seed in range(30):
        power = np.square(play(rhythm, seed, 16 * RATE)[0]).reshape(-1, 160).mean(axis=1)  # every 10 ms
        onsets = np.maximum(np.diff(np.log(power + 1e-6)), 0)
        onsets -= onsets.mean()
        for series, correlations in ((onsets, found), (rng.permutation(onsets), by_chance)):
            correlation = np.correlate(series, series, "full")[series.size - 1 :]
            beats = np.arange(33, 87)  # 180 to 70 a minute, in steps of 10 ms
            correlations.append(correlation[beats].max() / correlation[0])
    assert np.median(found) > 2.5 * np.median(by_chance)


def test_a_rhythm_has_a_bass_and_cymbals() -> None:
    low, high = [], []
    for seed in range(10):
        power = np.square(np.abs(np.fft.rfft(play(rhythm, seed)[0])))
        hertz = np.fft.rfftfreq(60_000, 1 / RATE)
        low.append(power[hertz < 200].sum() / power.sum())
        high.append(power[hertz > 4000].sum() / power.sum())
    assert np.median(low) > 0.2
    assert max(high) > 0.02


def test_a_bass_may_miss_all_of_its_beats() -> None:
    """Each beat is left out with a probability of 7 %; this seed leaves out both of them."""
    played = rhythm(800, 8000, np.random.default_rng(1146))
    assert played.shape == (1, 800)
    assert np.isfinite(played).all()


def test_a_leads_notes_are_tones_of_more_than_one_pitch() -> None:
    """Most energy of a frame lies in a few bins, and the loudest of them changes from note to note."""
    stft = ShortTimeFFT(np.hanning(2048), 1024, RATE)
    concentration, n_pitches = [], []
    for seed in range(10):
        power = np.square(np.abs(stft.stft(play(lead, seed)[0])))
        power = power[:, power.sum(0) > 0.01 * power.sum(0).max()]
        loudest = np.sort(power, axis=0)[-60:].sum(0) / power.sum(0)  # of 1025
        concentration.append(np.median(loudest))
        n_pitches.append(len(np.unique(power.argmax(0))))
    assert np.median(concentration) > 0.95
    assert np.median(n_pitches) >= 4


def test_about_half_of_the_leads_have_no_vibrato() -> None:
    rate, spans = 2_000, []
    for seed in range(60):
        pitch, _, _ = _melody(12 * rate, rate, np.random.default_rng(seed))
        cents = 1200 * np.log2(pitch)
        blocks = cents[: len(cents) // 150 * 150].reshape(-1, 150)  # of 75 ms
        spans.append(np.median(np.ptp(blocks, axis=1)))
    assert 0.35 < np.mean(np.array(spans) < 1) < 0.75


def test_a_third_of_the_leads_are_staccato_and_a_third_repeat_a_pattern() -> None:
    n_staccato, n_repeating = 0, 0
    for seed in range(100):
        pitch, loudness, age = _melody(8 * RATE, RATE, np.random.default_rng(seed))
        sounds = loudness > 0
        notes = np.split(np.arange(age.size), np.flatnonzero(np.diff(age) < 0) + 1)[:-1]
        played = [np.mean(sounds[note]) for note in notes if sounds[note].any()]
        n_staccato += bool(played) and bool(np.median(played) < 0.92)
        n_repeating += len({round(12 * np.log2(pitch[note[-1]]), 0) for note in notes}) <= 3
    assert 20 <= n_staccato <= 50
    assert 10 <= n_repeating <= 60


def test_notes_of_some_leads_lose_their_brightness() -> None:
    """A filter that closes makes the end of a note darker than its beginning."""
    falling = 0
    for seed in range(40):
        played = play(lead, seed)[0]
        _, loudness, age = _melody(played.size, RATE, np.random.default_rng(seed))
        brightness = np.abs(np.diff(played, prepend=0))
        early, late = ((loudness > 0) & (age > 0.02) & (age < 0.06)), ((loudness > 0) & (age > 0.15))
        if early.sum() > 1000 and late.sum() > 1000:
            ratio = [brightness[part].mean() / np.abs(played[part]).mean() for part in (early, late)]
            falling += ratio[1] < 0.75 * ratio[0]
    assert 5 <= falling <= 25
