"""Stereo scenes: what happens to every source, and that the sources remain those of a mixture."""

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto.training.config import SceneConfig
from duetto.training.data import augment
from duetto.training.data.scene import HARMONY_SEMITONES, SceneMaker
from helpers.quick import first

RATE = 16_000
N_SAMPLES = 6_000
Waveform = NDArray[np.float32]

ALWAYS = dict.fromkeys(SceneConfig.model_fields, 1.0)


def maker(**probabilities: float) -> SceneMaker:
    return SceneMaker(SceneConfig.model_validate(probabilities), RATE)


def noise(n_channels: int = 1, seed: int = 0) -> Waveform:
    chance = np.random.default_rng(seed)
    return np.float32(0.1) * chance.standard_normal((n_channels, N_SAMPLES), np.float32)


def gains(stereo: Waveform, mono: Waveform) -> tuple[float, float]:
    """Of the left and the right; fails if either is more than the mono source made louder or softer."""
    left, right = (float(side @ mono[0] / (mono[0] @ mono[0])) for side in stereo)
    assert np.abs(stereo - np.stack([left * mono[0], right * mono[0]])).max() < 1e-6
    return left, right


@pytest.mark.parametrize(("source", "most"), [("vocals", 0.1), ("music", 0.9)])
def test_where_nothing_happens_a_mono_source_is_panned(source: str, most: float) -> None:
    places = []
    for seed in range(60):
        stereo = getattr(maker(), source)(noise(), [], np.random.default_rng(seed))
        left, right = gains(stereo, noise())
        assert left**2 + right**2 == pytest.approx(2, rel=1e-4)
        places.append(abs(np.arctan2(right, left) / (np.pi / 4) - 1))
    assert 0.7 * most < max(places) <= most + 1e-4
    assert np.median(places) < 0.25


def test_where_nothing_happens_the_master_is_the_sources(rng: np.random.Generator) -> None:
    sources = np.stack([noise(2), noise(2, seed=1)])
    assert np.array_equal(maker().master(sources, rng), sources)


@pytest.mark.parametrize(("source", "lowest"), [("vocals", -12), ("music", -10)])
def test_another_source_is_as_loud_or_softer(source: str, lowest: float) -> None:
    levels = []
    for seed in range(30):
        both = getattr(maker(), source)(noise(), [noise(seed=1) * 5], np.random.default_rng(seed))
        parts = np.concatenate([noise(), noise(seed=1)])
        gains = np.linalg.lstsq(parts.T, both.T, rcond=None)[0]
        assert np.abs(gains.T @ parts - both).max() < 1e-5  # those two and nothing else
        first, second = np.linalg.norm(gains, axis=1)
        levels.append(20 * np.log10(second / first))
    assert lowest - 0.2 < min(levels) < lowest / 2 < max(levels) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("probability", first(1, 1.0, 0.3))
def test_scenes_are_stereo_finite_and_drawn_alike_from_one_seed(probability: float) -> None:
    scenes = maker(**dict.fromkeys(SceneConfig.model_fields, probability) | {"further_harmonies": 1})
    for seed in range(2):
        made = []
        for _ in range(2):
            rng, given = np.random.default_rng(seed), [noise(seed=k) for k in range(4)]
            voice = scenes.vocals(given[0], given[1:2], rng)
            music = scenes.music(given[2], given[3:], rng)
            made.append(scenes.master(np.stack([voice, music]), rng))
            assert all(np.array_equal(waveform, noise(seed=k)) for k, waveform in enumerate(given))
        assert made[0].shape == (2, 2, N_SAMPLES)
        assert made[0].dtype == np.float32
        assert np.isfinite(made[0]).all()
        assert made[0].any(axis=-1).all()
        assert np.array_equal(*made)


@pytest.mark.parametrize("other", first(1, True, False))
def test_silence_stays_silence_whatever_happens(other: bool) -> None:
    scenes, silence = maker(**ALWAYS), np.zeros((1, N_SAMPLES), np.float32)
    more = [silence] if other else []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        voice, music = scenes.vocals(silence, more, rng), scenes.music(silence, more, rng)
        assert not voice.any()
        assert not music.any()
        mastered = scenes.master(np.stack([voice, music]), rng)
        assert np.abs(mastered).max() < 1e-4
        assert not mastered[0].any()


def test_a_voice_sung_apart_is_hard_left_and_right_with_little_in_the_middle() -> None:
    middles = []
    for seed in range(20):
        voice = maker(double_tracking_apart=1).vocals(noise(), [], np.random.default_rng(seed))
        middle, side = (voice[0] + voice[1]) / 2, (voice[0] - voice[1]) / 2
        middles.append(np.linalg.norm(middle) / np.linalg.norm(side))
        assert np.linalg.norm(voice[0]) == pytest.approx(np.linalg.norm(voice[1]), rel=0.3)
    assert 0.8 < min(middles) < 1.1  # two takes that differ, nothing else: as much in the side
    assert max(middles) < 3


def test_a_band_is_the_sum_of_its_tracks_each_with_its_own_gain_and_place() -> None:
    parts = [noise(seed=k) for k in range(4)]
    band = maker().band(parts, np.random.default_rng(1))
    held = np.concatenate(parts)
    gains = np.linalg.lstsq(held.T, band.T, rcond=None)[0]
    assert np.abs(gains.T @ held - band).max() < 1e-5
    levels = 20 * np.log10(np.linalg.norm(gains, axis=1) / np.sqrt(2))
    assert (levels > -7.1).all()
    assert (levels < 5.1).all()
    assert np.ptp(levels) > 1


def test_a_band_of_many_tracks_loses_none_of_them() -> None:
    parts = [noise(1 + k % 2, seed=k) for k in range(15)]
    band = maker().band(parts, np.random.default_rng(2))
    held = np.concatenate(parts)
    gains = np.linalg.lstsq(held.T, band.T, rcond=None)[0]
    assert np.abs(gains.T @ held - band).max() < 1e-5
    assert (np.abs(gains).max(axis=1) > 0.1).all()


@pytest.mark.parametrize("silent", [0, 1])
def test_one_silent_source_stays_silent_beside_the_other(silent: int) -> None:
    sources = np.stack([noise(2), noise(2, seed=1)])
    sources[silent] = 0
    mastered = maker(master=1).master(sources, np.random.default_rng(0))
    assert not mastered[silent].any()
    assert mastered[1 - silent].any()


@pytest.mark.parametrize("seed", range(8))
def test_mastering_turns_both_sources_down_by_one_gain(seed: int) -> None:
    sources = np.stack([noise(2), noise(2, seed=1)])
    before = sources.copy()
    mastered = maker(master=1).master(sources, np.random.default_rng(seed))
    assert np.array_equal(sources, before)
    assert np.abs(mastered[0] * sources[1] - mastered[1] * sources[0]).max() < 1e-8
    mixture, pressed = np.abs(sources.sum(0)), np.abs(mastered.sum(0))
    assert (pressed <= mixture + 1e-7).all()
    assert pressed.max() < 0.9 * mixture.max()


@pytest.mark.parametrize("seed", range(4))
def test_what_coding_adds_counts_as_music(seed: int) -> None:
    seconds = np.arange(N_SAMPLES) / RATE
    sources = np.stack([np.full((2, 1), 0.2) * np.sin(2 * np.pi * f * seconds) for f in (300, 700)])
    sources = sources.astype(np.float32)
    before = sources.copy()
    coded = maker(lossy_coding=1).master(sources, np.random.default_rng(seed))
    assert np.array_equal(sources, before)
    assert np.array_equal(coded[0], sources[0])
    error = coded[1] - sources[1]
    assert 0 < augment.rms(error) < 0.5 * augment.rms(sources.sum(0))


@pytest.mark.slow
def test_there_are_at_most_so_many_harmonies_at_other_pitches() -> None:
    seconds = np.arange(2 * RATE) / RATE
    voice = np.sin(2 * np.pi * 440 * seconds, dtype=np.float32)[None]
    scenes = maker(harmony=1.0, further_harmonies=2)
    counts, pitches = set(), set()
    for seed in range(16):
        sung = scenes.vocals(voice, [], np.random.default_rng(seed)).mean(axis=0)
        bins = np.abs(np.fft.rfft(sung * np.hanning(sung.size)))
        own, parts = bins[870:891].max(), set()
        bins[870:891] = 0
        while bins.max() > 0.1 * own:
            peak = int(bins.argmax())
            assert 20 * np.log10(bins[peak] / own) < 10  # three parts may have the same pitch
            parts.add(round(12 * np.log2(peak / 2 / 440)))
            bins[int(0.975 * peak) : int(1.025 * peak)] = 0
        counts.add(len(parts))
        pitches |= parts
    assert pitches <= set(HARMONY_SEMITONES)
    assert len(pitches) > 3
    assert counts <= {1, 2, 3}
    assert 3 in counts


VOCAL_EFFECTS = ["harmony", "double_tracking", "echo", "reverberation", "equalise", "compress", "pause"]


@pytest.mark.parametrize(
    ("effect", "source"),
    [
        *((effect, "vocals") for effect in VOCAL_EFFECTS),
        *((effect, "music") for effect in ("reverberation", "equalise", "distort", "pause", "widen")),
    ],
)
def test_an_effect_happens_with_its_probability(effect: str, source: str) -> None:
    """In some of the cases, and in none where it is 0: then the source is only panned."""
    mono, changed = noise() * np.linspace(0.1, 1, N_SAMPLES, dtype=np.float32), 0
    for seed in range(12):
        stereo = getattr(maker(**{effect: 1.0}), source)(mono, [], np.random.default_rng(seed))
        fitted = (stereo @ mono[0] / (mono[0] @ mono[0]))[:, None] * mono
        changed += bool(np.abs(stereo - fitted).max() > 1e-3)
    assert changed >= 2


def test_a_voice_is_tuned_where_that_happens() -> None:
    times = np.arange(RATE) / RATE
    phase = 2 * np.pi * 220 * times + 5 * np.sin(2 * np.pi * times)
    voice = sum(np.cos(k * phase) / k for k in range(1, 15)).astype(np.float32)[None] / 10
    plain, tuned = (
        maker(pitch_correction=probability).vocals(voice, [], np.random.default_rng(0))
        for probability in (0.0, 1.0)
    )
    likeness = np.sum(plain[0] * tuned[0]) / np.sqrt(np.sum(plain[0] ** 2) * np.sum(tuned[0] ** 2))
    assert likeness < 0.9
