"""Data augmentation, measured on impulses, tones, bursts and silence."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, sosfiltfilt

from duetto.training.data import augment
from helpers.quick import first

RATE = 16_000
Waveform = NDArray[np.float32]
Rng = np.random.Generator
SEEDS = range(12)

EFFECTS: dict[str, Callable[[Waveform, Rng], Waveform]] = {
    "equalise": lambda waveform, rng: augment.equalise(waveform, RATE, rng),
    "widen": lambda waveform, rng: augment.widen(waveform, RATE, rng),
    "reverberate": lambda waveform, rng: augment.reverberate(waveform, RATE, rng),
    "compress": lambda waveform, rng: augment.compress(waveform, RATE, rng),
    "distort": lambda waveform, rng: augment.distort(waveform, RATE, rng),
    "echo": lambda waveform, rng: augment.echo(waveform, RATE, rng),
    "double_track": lambda waveform, rng: augment.double_track(waveform, RATE, rng),
    "pause": lambda waveform, rng: augment.pause(waveform, RATE, rng),
    "limit": lambda waveform, rng: waveform * augment.limiter_gain(waveform, rng),
    "coding": lambda waveform, rng: waveform + augment.coding_error(waveform, RATE, rng),
    "brighten": lambda waveform, rng: augment.brighten(waveform, RATE, rng),
    "resonate": lambda waveform, rng: augment.resonate(waveform, RATE, rng),
    "double_track_apart": lambda waveform, rng: augment.double_track_apart(waveform, RATE, rng),
    "pan": lambda waveform, rng: augment.pan(waveform[:1], rng, 0.5),
    "shift_formants": lambda waveform, rng: augment.shift_formants(waveform, RATE, rng),
    "add_vibrato": lambda waveform, rng: augment.add_vibrato(waveform, RATE, rng),
    "correct_pitch": lambda waveform, rng: augment.correct_pitch(waveform, RATE, rng),
}
WIDENING = {"double_track_apart", "widen", "reverberate", "double_track", "pan"}
"""What makes stereo of mono."""


def noise(n_channels: int, n_samples: int, seed: int = 0) -> Waveform:
    return np.float32(0.1) * np.random.default_rng(seed).standard_normal((n_channels, n_samples), np.float32)


def impulse(n_samples: int, at: int = 0) -> Waveform:
    waveform = np.zeros((1, n_samples), np.float32)
    waveform[0, at] = 1
    return waveform


def tone(seconds: float, hertz: float = 440) -> Waveform:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)[None]


def gliding(cents: float, swing: float, seconds: float = 2) -> Waveform:
    """Harmonics whose pitch swings, so many cents to either side of so many above A3."""
    times = np.arange(int(seconds * RATE)) / RATE
    pitch = 220 * 2 ** ((cents + swing * np.sin(2 * np.pi * 0.8 * times)) / 1200)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(np.cos(k * phase) / k for k in range(1, 15)).astype(np.float32)[None] / 10


def in_db(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


# --- all of them


@pytest.mark.parametrize("n_samples", [30, 5_000])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_keeps_length_type_and_its_input(name: str, n_channels: int, n_samples: int) -> None:
    for seed in range(2):
        waveform = noise(n_channels, n_samples)
        found = EFFECTS[name](waveform, np.random.default_rng(seed))
        assert found.shape == (2 if name in WIDENING else n_channels, n_samples)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert np.array_equal(waveform, noise(n_channels, n_samples))
        assert np.array_equal(found, EFFECTS[name](waveform, np.random.default_rng(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_changes_what_it_is_given_and_differently_each_time(name: str) -> None:
    waveform = gliding(0, 10) if name == "correct_pitch" else noise(1, 10_000)  # noise has no pitch
    found = [EFFECTS[name](waveform, np.random.default_rng(seed)) for seed in SEEDS]
    changed = [result for result in found if np.abs(result - waveform).max() > 1e-3]
    assert len(changed) > len(SEEDS) / 2
    assert len({result.tobytes() for result in changed}) == len(changed)


@pytest.mark.parametrize("name", EFFECTS)
def test_silence_stays_silent(name: str) -> None:
    for seed in range(5):
        found = EFFECTS[name](np.zeros((1, 4_000), np.float32), np.random.default_rng(seed))
        assert np.abs(found).max() < 1e-4  # a codec's silence is not quite


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_an_event_happens_with_its_probability(probability: float, rng: Rng) -> None:
    assert np.mean([augment.happens(probability, rng) for _ in range(2000)]) == pytest.approx(
        probability, abs=0.04
    )


def test_what_never_happens_draws_nothing(rng: Rng) -> None:
    before = rng.bit_generator.state
    augment.happens(0.0, rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize(("level", "ratio"), [(0, 1.0), (20, 10.0), (-20, 0.1), (6.0206, 2.0)])
def test_decibels_are_of_amplitudes(level: float, ratio: float) -> None:
    assert augment.decibels(level) == pytest.approx(ratio, rel=1e-5)


# --- each of them


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_equalising_bends_the_spectrum_within_its_bounds_and_not_the_phase(seed: int) -> None:
    n_samples = 4_000  # as long as its transform, so that the response is whole
    found = augment.equalise(impulse(n_samples), RATE, np.random.default_rng(seed), most_db=8.0)
    response = np.fft.rfft(found[0].astype(float))
    gains = 20 * np.log10(np.abs(response))
    assert np.abs(gains).max() < 8.01
    assert np.ptp(gains) > 1
    assert np.abs(np.angle(response)).max() < 1e-3
    assert np.abs(np.diff(gains[10:])).max() < 3  # a curve, not a comb


@pytest.mark.parametrize("most", [0.0, 0.3, 1.0])
def test_a_place_has_constant_power_and_a_bound(most: float) -> None:
    mono, angles = noise(1, 100), []
    for seed in range(40):
        left, right = augment.pan(mono, np.random.default_rng(seed), most)
        assert left**2 + right**2 == pytest.approx(2 * mono[0] ** 2, rel=1e-5)
        angles.append(np.arctan2(right @ mono[0], left @ mono[0]) / (np.pi / 4) - 1)
    assert np.abs(angles).max() <= most + 1e-6
    assert np.ptp(angles) >= 1.6 * most


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_width_is_lost_in_the_sum_to_mono(seed: int) -> None:
    waveform = noise(2, 4_000)
    found = augment.widen(waveform, RATE, np.random.default_rng(seed))
    assert np.abs(found.mean(0) - waveform.mean(0)).max() < 1e-6
    side = (found[0] - found[1] - waveform[0] + waveform[1]) / 2
    lags = np.correlate(side, waveform.mean(0), "full")[3_999:]
    assert 0.002 * RATE - 1 <= lags.argmax() <= 0.03 * RATE
    assert augment.rms(side) > 0.05 * augment.rms(waveform)


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_a_room_sounds_on_and_decays(seed: int) -> None:
    waveform = np.zeros((1, 2 * RATE), np.float32)
    start, stop = RATE // 10, RATE // 4
    waveform[:, start:stop] = noise(1, stop - start)
    wet = augment.reverberate(waveform, RATE, np.random.default_rng(seed)) - waveform
    assert np.abs(wet[:, : start - 8]).max() < 1e-6  # but for the few samples of its dullness nothing before
    assert np.abs(wet[:, stop : stop + RATE // 20]).max() > 1e-3
    assert -20.1 < in_db(augment.rms(wet) / augment.rms(waveform)) < -2.9
    energies = np.square(wet[:, stop:], dtype=float).sum(0)[: 4 * (RATE // 3)].reshape(4, -1).sum(1)
    assert (energies[1:] < 0.7 * energies[:-1] + 1e-9).all()
    ears = wet[:, stop : stop + RATE // 10]
    assert abs(np.corrcoef(ears)[0, 1]) < 0.5


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_a_compressor_turns_down_what_is_loud(seed: int) -> None:
    waveform = np.tile(noise(1, RATE), 2) * np.float32(0.03)
    burst = slice(RATE, RATE + RATE // 5)
    waveform[:, burst] *= 30
    gain = augment.compressor_gain(waveform, RATE, np.random.default_rng(seed))
    assert gain.shape == (2 * RATE,)
    assert gain.dtype == np.float32
    assert 0 < gain.min() <= gain.max() <= 1
    loud, quiet = gain[RATE + RATE // 10], gain[: RATE // 2]
    assert loud < 0.85  # at least 4 dB above the threshold, at least halved
    assert quiet.min() > 0.999


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_compressing_and_distorting_keep_the_level_and_flatten_the_peaks(seed: int) -> None:
    waveform = noise(2, RATE) * np.linspace(0.05, 1, RATE, dtype=np.float32) ** 4
    compressed = augment.compress(waveform, RATE, np.random.default_rng(seed))
    distorted = augment.distort(waveform, RATE, np.random.default_rng(seed))
    for found in (compressed, distorted):
        assert augment.rms(found) == pytest.approx(augment.rms(waveform), rel=1e-4)
        assert np.abs(found).max() < 0.98 * np.abs(waveform).max()
        assert (np.sign(found) == np.sign(waveform)).mean() > 0.999


def test_distortion_adds_odd_harmonics() -> None:
    driven = augment.distort(tone(1), RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(driven[0]))
    first, second, third = spectrum[440], spectrum[880], spectrum[1320]
    assert third > 0.01 * first
    assert second < 1e-4 * first


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_echoes_come_evenly_and_fall_geometrically(seed: int) -> None:
    found = augment.echo(impulse(4 * RATE, at=100), RATE, np.random.default_rng(seed))[0]
    (places,) = np.nonzero(found)
    delay, fall = places[1] - places[0], found[places[1]]
    assert 0.1 * RATE - 1 <= delay <= 0.5 * RATE
    assert 0.1 <= fall <= 0.5
    assert np.array_equal(places, np.arange(100, 4 * RATE, delay))
    assert found[places] == pytest.approx(fall ** np.arange(places.size), rel=1e-4)


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_doubles_come_8_to_30_ms_later_on_either_side(seed: int) -> None:
    start, length = RATE // 4, RATE // 100
    burst = np.zeros((1, RATE), np.float32)
    burst[0, start : start + length] = np.hanning(length)
    copies = augment.double_track(burst, RATE, np.random.default_rng(seed)) - burst
    (places,) = np.nonzero(np.abs(copies).max(0) > 1e-3)
    assert start + 0.007 * RATE < places.min() < places.max() < start + length + 0.031 * RATE
    assert np.abs(copies).max(1) == pytest.approx([0.55, 0.55], abs=0.26)
    assert np.abs(copies[0] - copies[1]).max() > 0.01


def test_a_pause_is_silent_inside_and_nothing_outside() -> None:
    n_samples, n_silent = RATE, 0
    for seed in range(40):
        gain = augment.pause(np.ones((1, n_samples), np.float32), RATE, np.random.default_rng(seed))[0]
        first, last = np.sort(np.random.default_rng(seed).uniform(-0.3, 1.3, 2)) * n_samples
        places = np.arange(n_samples)
        assert (gain[(places <= first) | (places >= last)] == 1).all()
        silent = gain[(places >= first + 0.02 * RATE) & (places <= last - 0.02 * RATE)]
        assert np.abs(silent).max(initial=0) < 1e-6
        assert np.abs(np.diff(gain)).max() <= 1.01 / (0.02 * RATE)
        n_silent += bool(silent.size)
    assert n_silent > 30


@pytest.mark.parametrize("peak", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_a_limiter_keeps_the_mixture_below_a_ceiling(seed: int, peak: float) -> None:
    mixture = noise(2, 4_000, seed)
    mixture *= np.float32(peak / np.abs(mixture).max())
    gain = augment.limiter_gain(mixture, np.random.default_rng(seed))
    assert gain.shape == mixture.shape
    assert 0 <= gain.min() <= gain.max() <= 1 + 1e-6
    limited = float(np.abs(gain * mixture).max())
    assert 0.31 * peak < limited < 0.9 * peak  # 1 to 10 dB
    assert -10.01 < in_db(limited / peak) < -0.99 + 0.01 or limited < augment.decibels(-1) * peak
    assert gain[np.abs(mixture) == np.abs(mixture).max()].max() == pytest.approx(limited / peak, rel=1e-5)
    assert gain[np.abs(mixture) < 0.01 * peak].min() > 0.99


@pytest.mark.parametrize("scale", [0.3, 2.0])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("seed", first(1, *range(4)))
def test_coding_adds_a_small_error(seed: int, n_channels: int, scale: float) -> None:
    mixture = np.repeat(tone(1) + tone(1, 1000), n_channels, 0) * np.float32(scale / 2)
    error = augment.coding_error(mixture, RATE, np.random.default_rng(seed))
    assert error.shape == mixture.shape
    inner = slice(RATE // 10, -RATE // 10)
    noise_ratio = augment.rms(mixture[:, inner]) / augment.rms(error[:, inner])
    assert 3 < in_db(noise_ratio) < 80


# --- formants, pitch, vibrato


def sung(pitch: float, formant: float, seconds: float = 1.0) -> Waveform:
    """Harmonics under one resonance."""
    times = np.arange(int(seconds * RATE)) / RATE
    harmonics = pitch * np.arange(1, int(RATE / 2 / pitch))
    weights = np.exp(-(((harmonics - formant) / 400) ** 2)) + 0.01
    return (np.cos(2 * np.pi * times[:, None] * harmonics) @ weights).astype(np.float32)[None]


def spectrum(waveform: Waveform) -> NDArray[np.float64]:
    return np.abs(np.fft.rfft(waveform[0] * np.hanning(waveform.shape[-1])))


def test_formants_move_and_the_harmonics_stay() -> None:
    voice = sung(pitch=200, formant=2000)
    ratios = []
    for seed in SEEDS:
        moved = augment.shift_formants(voice, RATE, np.random.default_rng(seed))
        found, hertz = spectrum(moved), np.arange(RATE // 2 + 1)
        near = hertz % 200
        on = (near < 6) | (near > 194)
        assert np.square(found[~on]).sum() < 0.01 * np.square(found).sum()
        ratios.append(np.sum(hertz * found**2) / np.sum(hertz * spectrum(voice) ** 2))
        ratios[-1] *= np.sum(spectrum(voice) ** 2) / np.sum(found**2)  # of the centres of gravity
    assert min(ratios) < 0.92
    assert max(ratios) > 1.08
    assert min(ratios) > 0.75
    assert max(ratios) < 1.25


def test_formants_that_move_by_nothing_change_nothing() -> None:
    voice = sung(pitch=200, formant=2000)
    kept = augment.shift_formants(voice, RATE, np.random.default_rng(0), most=0)
    assert np.abs(kept - voice).max() < 1e-4 * np.abs(voice).max()


@pytest.mark.parametrize("pitch", [110.0, 440.0])
@pytest.mark.parametrize("semitones", first(2, -12, 7, -5, 3))
def test_transposing_moves_the_pitch_and_keeps_the_pace(semitones: int, pitch: float) -> None:
    seconds = np.arange(3 * RATE) / RATE
    note = np.sin(2 * np.pi * pitch * seconds) * (seconds > 1) * (seconds < 2)
    found = augment.transpose(note.astype(np.float32)[None], semitones, RATE)
    bins = spectrum(found)
    assert bins.argmax() * RATE / found.size == pytest.approx(pitch * 2 ** (semitones / 12), rel=0.01)
    loudness = [augment.rms(found[:, int(start * RATE) :][:, : RATE // 2]) for start in (0.25, 1.25, 2.25)]
    assert in_db(loudness[1] * np.sqrt(2)) == pytest.approx(0, abs=1)
    assert max(loudness[0], loudness[2]) < 0.02 * loudness[1]


def test_transposing_by_nothing_changes_nothing() -> None:
    voice = sung(pitch=200, formant=2000)
    kept = augment.transpose(voice, 0, RATE)
    assert np.abs(kept - voice).max() < 1e-4 * np.abs(voice).max()


def test_vibrato_swings_the_pitch_by_80_cents_at_most() -> None:
    swings = []
    for seed in SEEDS:
        swung = augment.add_vibrato(tone(3), RATE, np.random.default_rng(seed))[0]
        turns = np.unwrap(np.angle(hilbert(swung)))[2000:-2000]
        cents = 1200 * np.log2(np.diff(turns) * RATE / (2 * np.pi) / 440)
        swings.append(np.percentile(np.abs(cents), 99))
        assert abs(np.mean(cents)) < 3
    assert max(swings) < 100  # the swing grows and falls as well, which adds to it
    assert max(swings) > 25


def cents_of(waveform: Waveform) -> NDArray[np.float64]:
    """From 220 Hz, by the turns of the first harmonic."""
    lowest = sosfiltfilt(butter(4, (150, 330), "bandpass", fs=RATE, output="sos"), waveform[0].astype(float))
    turns = np.unwrap(np.angle(hilbert(lowest)))[RATE // 4 : -RATE // 4]
    return 1200 * np.log2(np.diff(turns) * RATE / (2 * np.pi) / 220)


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_a_tuned_voice_holds_its_pitch(seed: int) -> None:
    """It may be off as a whole: it fills the time that it filled before."""
    voice = gliding(5, 35)
    tuned = augment.correct_pitch(voice, RATE, np.random.default_rng(seed))
    assert np.std(cents_of(voice)) > 23
    assert np.std(cents_of(tuned)) < 0.5 * np.std(cents_of(voice))
    assert abs(np.mean(cents_of(tuned)) - np.mean(cents_of(voice))) < 10
    assert augment.rms(tuned) == pytest.approx(augment.rms(voice), rel=0.05)


def test_some_tuned_voices_are_steadier_than_others() -> None:
    deviations = [
        np.std(cents_of(augment.correct_pitch(gliding(0, 35), RATE, np.random.default_rng(seed))))
        for seed in SEEDS
    ]
    assert min(deviations) < 6
    assert max(deviations) > 8


def test_a_tuned_voice_steps_from_semitone_to_semitone() -> None:
    tuned = [augment.correct_pitch(gliding(100, 250), RATE, np.random.default_rng(seed)) for seed in SEEDS]
    off = [np.abs((cents_of(waveform) + 50) % 100 - 50) for waveform in (gliding(100, 250), *tuned)]
    assert np.mean(off[0]) > 23
    assert min(map(np.mean, off[1:])) < 10
    assert max(map(np.mean, off[1:])) < 23


def test_what_has_no_pitch_is_not_tuned() -> None:
    for waveform in (noise(1, 8_000), noise(2, 8_000, seed=3)):
        tuned = augment.correct_pitch(waveform, RATE, np.random.default_rng(0))
        assert np.abs(tuned - waveform).max() < 1e-4


def test_a_resonance_raises_one_band_between_600_and_1800_hz() -> None:
    centres = []
    for seed in SEEDS:
        resonant = augment.resonate(impulse(RATE), RATE, np.random.default_rng(seed))
        level_db = 20 * np.log10(np.abs(np.fft.rfft(resonant[0])))
        level_db -= np.median(level_db[4000:])
        centres.append(int(level_db.argmax()))
        assert 5.9 < level_db.max() < 16.1
        assert np.abs(level_db[:100]).max() < 1  # more than 2.5 octaves below
        assert augment.rms(resonant) == pytest.approx(augment.rms(impulse(RATE)), rel=1e-4)
    assert min(centres) >= 600
    assert max(centres) <= 1800
    assert max(centres) / min(centres) > 1.5


def gliding_between_steady_notes() -> Waveform:
    """One second of noise, a steady note of 0.5 s, then a glide over two octaves in 4.5 s."""
    steady = gliding(cents=0, swing=0, seconds=0.5)
    times = np.arange(int(4.5 * RATE)) / RATE
    glide = np.sin(2 * np.pi * np.cumsum(220 * 2 ** (times / 2.25)) / RATE)[None] / 10
    return np.concatenate([noise(1, RATE, seed=1) * 0.2, steady, glide], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", first(3, *SEEDS))
def test_a_held_note_is_the_steady_one_for_3_to_8_times_as_long(seed: int) -> None:
    waveform = gliding_between_steady_notes()
    held = augment.hold_note(waveform, RATE, np.random.default_rng(seed))[0]
    sounds = np.flatnonzero(np.abs(held) > 0.01 * np.abs(held).max())
    assert 0.9 < sounds[0] / RATE < 1.4
    assert 3 * 0.2 - 0.2 < (sounds[-1] - sounds[0]) / RATE < 8 * 0.5
    assert not held[: int(0.9 * RATE)].any()
    spectrum = np.abs(np.fft.rfft(held * np.hanning(held.size)))
    partials = np.fft.rfftfreq(held.size, 1 / RATE)[np.argsort(spectrum)[-20:]] / 220
    assert np.abs(partials - partials.round()).max() < 0.02


def test_what_has_no_pitch_has_no_note_to_hold(rng: Rng) -> None:
    assert not augment.hold_note(noise(1, RATE), RATE, rng).any()
    assert not augment.hold_note(noise(1, 30), RATE, rng).any()
