"""Synthesised accompaniment: a rhythm section of drums, bass and guitar, and a lead instrument.

Everything is drawn anew each time: tempo, key, patterns, sounds. Free recordings of rhythm sections are few,
and a network that was trained with too few solo instruments takes saxophones, lead guitars and synthesisers
for vocals.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from duetto.evaluation.tracks import Waveform
from duetto.training.data.augment import Rng, decibels, equalise, happens, rms

Contour = NDArray[np.float64]

N_STEPS = 16
"""Steps in a bar of four beats."""

KICKS = ("x...x...x...x...", "x.....x.x.......", "x..x..x...x.....", "x.......x.x.....", "x......xx..x....")
SNARES = ("....x.......x...", "....x.......x..x", "........x.......", "....x..x.x..x...")
HATS = ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "x...x...x...x...", "..x...x...x...x.", "x..xx.x.x..xx.x.")
BASSES = ("x.x.x.x.x.x.x.x.", "x.....x.x.....x.", "x...x...x...x...", "x..x..x.x..x..x.", "x...............")
ROOTS = (0, 0, -5, -4, -2, 3, 5, 7)
"""Semitones of a bar's root above the key; the key's own root is the most likely."""


def rhythm(n_samples: int, sample_rate: int, rng: Rng) -> Waveform:
    """Synthesise drums, bass or guitar together (1, n_samples), at a root mean square of about 0.1."""
    step = 60 / rng.uniform(70, 180) / 4 * sample_rate
    n_bars = int(n_samples / (step * N_STEPS)) + 2
    shift = int(rng.uniform(0, step * N_STEPS))  # it starts within a bar
    length = n_samples + shift
    key = rng.uniform(36, 80)
    roots = key * 2 ** (rng.choice(ROOTS, n_bars) / 12)
    layers: list[tuple[float, Callable[[], Waveform]]] = [
        (0.85, lambda: _drums(length, step, n_bars, sample_rate, rng)),
        (0.7, lambda: _bass(length, step, roots, sample_rate, rng)),
        (0.35, lambda: _guitar(length, step, roots, sample_rate, rng)),
    ]
    played = np.zeros(length, np.float32)
    for play in [play for probability, play in layers if rng.random() < probability] or [layers[0][1]]:
        layer = play()
        level = decibels(rng.uniform(-6, 3)) / (rms(layer) + 1e-6)
        played += layer * np.float32(level)
    played = played[None, shift:]
    return played * np.float32(0.1 / (rms(played) + 1e-6))


def _drums(length: int, step: float, n_bars: int, rate: int, rng: Rng) -> Waveform:
    played = np.zeros(length, np.float32)
    kit = [
        (_thump(rate, rng, rng.uniform(40, 70), rng.uniform(0.08, 0.4)), rng.choice(KICKS), 0.0),
        (_snare(rate, rng), rng.choice(SNARES), -2.0),
        (_noise(rate, rng, rng.uniform(0.02, 0.12), bright=2), rng.choice(HATS), rng.uniform(-18, -6)),
    ]
    for sound, pattern, level_db in kit:
        for beat in _beats(pattern, n_bars, rng):
            _add(played, sound, beat * step, level_db + rng.uniform(-6, 0))
    fill = _thump(rate, rng, rng.uniform(80, 180), rng.uniform(0.1, 0.3))
    crash = _noise(rate, rng, rng.uniform(0.4, 1.2), bright=1)
    for bar in range(n_bars):
        if rng.random() < 0.3:
            _add(played, crash, bar * N_STEPS * step, rng.uniform(-24, -10))
        if rng.random() < 0.2:
            for beat in range(12, N_STEPS):
                _add(played, fill, (bar * N_STEPS + beat) * step, rng.uniform(-8, 0))
    return played


def _bass(length: int, step: float, roots: NDArray[Any], rate: int, rng: Rng) -> Waveform:
    fall, decay = rng.uniform(0.7, 2.5), rng.uniform(0.1, 1.0)
    harmonics = np.arange(1, 13)
    weights = harmonics**-fall * (harmonics % 2 if rng.random() < 0.3 else 1)
    return _notes(length, step, roots, rate, rng, weights=weights, decay=decay, intervals=(0,))


def _guitar(length: int, step: float, roots: NDArray[Any], rate: int, rng: Rng) -> Waveform:
    weights = np.arange(1, 21) ** -1.0
    third = rng.choice([3, 4, 7])  # a power chord has none
    chord = _notes(
        length, step, roots * 2, rate, rng,
        weights=weights, decay=rng.uniform(0.2, 2.0), intervals=(0, 7, 12, int(third)),
    )  # fmt: skip
    drive = decibels(rng.uniform(-10, 25)) / (rms(chord) + 1e-6)
    return np.tanh(chord * np.float32(drive))


def _notes(
    length: int, step: float, roots: NDArray[Any], rate: int, rng: Rng,
    *, weights: NDArray[Any], decay: float, intervals: tuple[int, ...],
) -> Waveform:  # fmt: skip
    """Plucked notes on the beats of a pattern; `weights` are the amplitudes of their harmonics."""
    played = np.zeros(length, np.float32)
    beats = _beats(rng.choice(BASSES), len(roots), rng)
    for beat, following in pairwise([*beats, len(roots) * N_STEPS]):
        seconds = np.arange(int((following - beat) * step)) / rate
        envelope = np.exp(-seconds / decay) * np.minimum(1, seconds / 0.004)
        envelope *= np.minimum(1, (seconds[-1:] - seconds) / 0.01)
        for interval in intervals:
            pitch = roots[beat // N_STEPS] * 2 ** (interval / 12)
            n_harmonics = min(len(weights), int(rate / 2 / pitch))
            wave = np.exp(2j * np.pi * pitch * seconds)  # its powers are the harmonics
            tone, power = np.zeros(seconds.size), wave.copy()
            for weight in weights[:n_harmonics]:
                tone += weight * power.imag
                power *= wave
            _add(played, (tone * envelope).astype(np.float32), beat * step, 0.0)
    return played


def _beats(pattern: str, n_bars: int, rng: Rng) -> list[int]:
    """Steps on which a pattern has a note, of which 7 % are left out."""
    hits = [step for step, mark in enumerate(pattern) if mark == "x"]
    return [bar * N_STEPS + hit for bar in range(n_bars) for hit in hits if rng.random() > 0.07]


def _thump(rate: int, rng: Rng, pitch: float, decay: float) -> Waveform:
    """A drum: a tone that glides down to its pitch, and the click of the beater."""
    seconds = np.arange(int(5 * decay * rate)) / rate
    glide = rng.uniform(0.01, 0.05)
    turns = pitch * (seconds + rng.uniform(1, 6) * glide * (1 - np.exp(-seconds / glide)))
    click = rng.standard_normal(seconds.size) * np.exp(-seconds / 0.003) * rng.uniform(0, 0.5)
    sound = np.sin(2 * np.pi * turns) * np.exp(-seconds / decay) + click
    return np.tanh(sound * rng.uniform(0.5, 3)).astype(np.float32)


def _snare(rate: int, rng: Rng) -> Waveform:
    skin = _thump(rate, rng, rng.uniform(150, 260), rng.uniform(0.04, 0.12))
    wires = _noise(rate, rng, rng.uniform(0.05, 0.25), bright=int(rng.integers(0, 2)))
    sound = np.zeros(max(skin.size, wires.size), np.float32)
    sound[: skin.size] += skin * np.float32(rng.uniform(0.2, 1))
    sound[: wires.size] += wires
    return sound


def _noise(rate: int, rng: Rng, decay: float, bright: int) -> Waveform:
    """Decaying noise, high-passed `bright` times by 6 dB an octave."""
    noise = rng.standard_normal(int(5 * decay * rate) + bright)
    for _ in range(bright):
        noise = np.diff(noise)
    return (noise * np.exp(-np.arange(noise.size) / (decay * rate))).astype(np.float32)


def _add(played: Waveform, sound: Waveform, start: float, level_db: float) -> None:
    first = int(start)
    n_samples = min(sound.size, played.size - first)
    if n_samples > 0:
        played[first : first + n_samples] += sound[:n_samples] * np.float32(decibels(level_db))


SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
"""Semitones above the key: two pentatonic scales, major and minor."""

PARALLELS = ((0,), (0,), (0,), (0, 12), (0, 4), (0, 7), (0, 4, 7), (0, 3, 7, 12))
"""Semitones above the melody that are played together."""


def lead(n_samples: int, sample_rate: int, rng: Rng) -> Waveform:
    """Synthesise a melody (1, n_samples), at a root mean square of about 0.1 unless it is all rests."""
    pitch, loudness, age = _melody(n_samples, sample_rate, rng)
    fall = np.full(n_samples, rng.uniform(0.3, 2.5), np.float32)
    if happens(0.4, rng):  # as a synthesiser's filter does, which closes in every note
        fall += np.float32(rng.uniform(0.5, 3)) * (1 - np.exp(-age / rng.uniform(0.03, 0.5)))
    odd_only = rng.random() < 0.25  # as of a clarinet
    played = np.zeros(n_samples, np.float32)
    for interval in PARALLELS[rng.integers(len(PARALLELS))]:
        detuned = pitch * 2 ** ((interval + rng.normal(0, 0.05)) / 12)
        played += _tone(detuned, sample_rate, fall, odd_only)
    played *= loudness / np.float32(rms(played) + 1e-6)
    if happens(0.3, rng):
        played = np.tanh(played * np.float32(decibels(rng.uniform(-6, 20))))
    breath = (
        rng.standard_normal(n_samples, np.float32) * loudness * np.float32(decibels(rng.uniform(-50, -18)))
    )
    coloured = equalise(
        (played + breath)[None], sample_rate, rng, most_db=15.0
    )  # the resonances of the instrument
    return coloured * np.float32(0.1 / (rms(coloured) + 1e-6))


def _melody(n_samples: int, sample_rate: int, rng: Rng) -> tuple[Contour, Waveform, Waveform]:
    """Hertz, amplitude, and seconds since the beginning of the note, at every sample."""
    scale = SCALES[rng.integers(len(SCALES))]
    pace = rng.uniform(0.12, 0.6)
    n_notes = int(n_samples / sample_rate / (0.5 * pace)) + 2
    lengths = (pace * rng.choice([0.5, 1, 1, 1.5, 2, 4], n_notes) * sample_rate).astype(int)
    degrees = rng.integers(-2, 6) + np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2], n_notes))
    degrees = np.clip(degrees, -len(scale), 2 * len(scale))
    semitones = 12 * (degrees // len(scale)) + np.array(scale)[degrees % len(scale)]
    if happens(0.3, rng):  # as an arpeggiator does
        semitones = np.resize(semitones[: rng.integers(1, 9)], n_notes)
    is_rest = rng.random(n_notes) < 0.12
    levels = np.where(is_rest, 0, 10 ** (rng.uniform(-8, 0, n_notes) / 20))
    sounding = rng.uniform(0.15, 0.9) if happens(0.35, rng) else 1.0  # part of a note's time: staccato or not
    slots = np.repeat(lengths, lengths)[:n_samples]
    ends = np.repeat(np.cumsum(lengths), lengths)[:n_samples]
    age = ((np.arange(n_samples) - (ends - slots)) / sample_rate).astype(np.float32)
    left = np.maximum(slots * sounding / sample_rate - age, 0)

    glide = np.exp(-1 / (rng.uniform(0.001, 0.04) * sample_rate))
    steps = np.repeat(semitones, lengths)[:n_samples]
    curve = lfilter([1 - glide], [1, -glide], steps, zi=[glide * steps[0]])[0]
    depth = rng.uniform(0, 0.6) if happens(0.5, rng) else 0.0  # of a vibrato
    swing = depth * np.clip(age / rng.uniform(0.1, 0.5) - 0.3, 0, 1)
    curve += swing * np.sin(2 * np.pi * rng.uniform(4, 7.5) * np.arange(n_samples) / sample_rate)

    attack, decay = rng.uniform(0.005, 0.08), np.exp(rng.uniform(np.log(0.2), np.log(8)))
    loudness = np.repeat(levels, lengths)[:n_samples] * np.exp(-age / decay)
    loudness *= np.clip(age / attack, 0, 1) * np.clip(left / rng.uniform(0.01, 0.06), 0, 1)
    return rng.uniform(110, 520) * 2 ** (curve / 12), loudness.astype(np.float32), age


def _tone(pitch: Contour, sample_rate: int, fall: Waveform, odd_only: bool) -> Waveform:
    """Harmonics up to the Nyquist frequency, whose amplitudes fall by the power `fall` of their number."""
    wave = np.exp(2j * np.pi * np.cumsum(pitch) / sample_rate).astype(np.complex64)
    power, tone = wave.copy(), np.zeros(pitch.size, np.float32)
    for number in range(1, min(40, int(sample_rate / 2 / pitch.max())) + 1):
        if number % 2 or not odd_only:
            tone += np.exp(np.float32(-math.log(number)) * fall) * power.imag
        power *= wave  # its powers are the harmonics
    return tone
