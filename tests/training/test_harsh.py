"""Harsh voices made of clean ones: what each effect does to a tone or a vowel, and what it keeps."""

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto.training.data import harsh
from duetto.training.data.augment import rms
from helpers.quick import first

RATE = 16_000
N_SAMPLES = 2 * RATE
Waveform = NDArray[np.float32]


def vowel(pitch: float = 200.0) -> Waveform:
    """Harmonics below two formants, at 700 and 1200 Hz."""
    times = np.arange(N_SAMPLES) / RATE
    frequencies = np.arange(pitch, 5000, pitch)
    gains = sum(1 / (1 + ((frequencies - formant) / 150) ** 2) for formant in (700, 1200)) + 0.01
    waves = np.sin(2 * np.pi * frequencies[:, None] * times + frequencies[:, None])
    return (0.05 * gains @ waves).astype(np.float32)[None]


def spectrum(waveform: Waveform) -> NDArray[np.float64]:
    """Power in bands of 10 Hz."""
    power = np.abs(np.fft.rfft(waveform[0].astype(float))) ** 2
    return power[: power.size // 20 * 20].reshape(-1, 20).sum(axis=1)


@pytest.mark.parametrize("seed", first(3, *range(12)))
def test_a_roughened_voice_is_as_long_and_as_loud_and_another(seed: int) -> None:
    voice = vowel()
    rough = harsh.roughen(voice, RATE, np.random.default_rng(seed))
    assert rough.shape == voice.shape
    assert rough.dtype == np.float32
    assert rms(rough) == pytest.approx(rms(voice), rel=1e-3)
    assert np.corrcoef(rough[0], voice[0])[0, 1] < 0.98


def test_silence_stays_silent(rng: np.random.Generator) -> None:
    for _ in range(8):
        assert not harsh.roughen(np.zeros((1, RATE), np.float32), RATE, rng).any()


def test_breath_fills_the_gaps_between_harmonics_and_keeps_the_formants() -> None:
    voice, rng = vowel(), np.random.default_rng(0)
    powers = [spectrum(harsh.breathe(voice, RATE, rng)) for _ in range(4)]
    gaps = np.arange(75, 100, 20) - 5  # 700 and 900 Hz, half way between harmonics of 200 Hz
    assert min(power[gaps].sum() for power in powers) > 100 * spectrum(voice)[gaps].sum()
    for power in powers:
        near, far = power[65:75].sum(), power[300:310].sum()
        assert near > 100 * far  # 650 to 750 Hz against 3000 to 3100 Hz


def test_flutter_modulates_between_30_and_90_hertz(rng: np.random.Generator) -> None:
    tone = np.sin(2 * np.pi * 2000 * np.arange(N_SAMPLES) / RATE).astype(np.float32)[None]
    power = spectrum(harsh.flutter(tone, RATE, rng))
    around = power[200 - 25 : 200 + 26]
    assert power.sum() == pytest.approx(around.sum(), rel=0.05)  # sidebands within 250 Hz
    assert around.sum() - power[199:201].sum() > 0.02 * power.sum()
    assert power[200 - 12 : 200 - 2].sum() > 5 * power[200 - 2 : 200 - 1].sum()


def test_a_shout_has_harmonics_that_a_tone_lacks(rng: np.random.Generator) -> None:
    tone = (0.1 * np.sin(2 * np.pi * 400 * np.arange(N_SAMPLES) / RATE)).astype(np.float32)[None]
    power = spectrum(harsh.shout(tone, RATE, rng))
    harmonics = [power[40 * k - 1 : 40 * k + 1].sum() for k in (1, 3, 5)]
    assert harmonics[1] > 1e-3 * harmonics[0]
    assert sum(power) == pytest.approx(
        sum(power[40 * k - 1 : 40 * k + 1].sum() for k in range(1, 20)), rel=0.01
    )


def test_a_held_scream_is_as_loud_at_its_end_and_still_rests() -> None:
    envelope = np.interp(np.arange(N_SAMPLES), [0, RATE, RATE + 1, N_SAMPLES], [1, 0.2, 0, 0])
    voice = vowel() * envelope.astype(np.float32)
    held = harsh.sustain(voice, RATE)
    begin, end, rest = slice(2000, 4000), slice(12000, 14000), slice(RATE + 2000, N_SAMPLES)
    before = rms(voice[:, end]) / rms(voice[:, begin])
    assert rms(held[:, end]) / rms(held[:, begin]) > 1.5 * before
    assert not held[:, rest].any()
