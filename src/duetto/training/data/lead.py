"""An instrument that leads: it glides, swings and holds its notes as voices do, but sings no words.

A network that has heard too few of them takes saxophones, solo guitars and synthesisers for second voices.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from duetto.training.data.augment import decibels, equalise, happens, rms

Waveform = NDArray[np.float32]
Curve = NDArray[np.float64]
Rng = np.random.Generator

SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
"""Semitones above the key: two of five notes, major and minor."""

CHORDS = ((0,), (0,), (0,), (0, 12), (0, 4), (0, 7), (0, 4, 7), (0, 3, 7, 12))
"""Semitones above the melody that are played with it; often none."""


def lead(n_samples: int, sample_rate: int, rng: Rng) -> Waveform:
    """A melody (1, n_samples) of one instrument, at a root mean square of about 0.1 unless it rests."""
    pitch, loudness = _melody(n_samples, sample_rate, rng)
    fall = rng.uniform(0.3, 2.5)
    odd_alone = rng.random() < 0.25  # as a clarinet
    played = np.zeros(n_samples, np.float32)
    for interval in CHORDS[rng.integers(len(CHORDS))]:
        detuned = pitch * 2 ** ((interval + rng.normal(0, 0.05)) / 12)
        played += _tone(detuned, sample_rate, fall, odd_alone)
    played *= loudness / np.float32(rms(played) + 1e-6)
    if happens(0.3, rng):
        played = np.tanh(played * np.float32(decibels(rng.uniform(-6, 20))))
    breath = (
        rng.standard_normal(n_samples, np.float32) * loudness * np.float32(decibels(rng.uniform(-50, -18)))
    )
    coloured = equalise((played + breath)[None], sample_rate, rng, most_db=15.0)  # its body
    return coloured * np.float32(0.1 / (rms(coloured) + 1e-6))


def _melody(n_samples: int, sample_rate: int, rng: Rng) -> tuple[Curve, Waveform]:
    """Hertz and amplitude at every sample."""
    scale = SCALES[rng.integers(len(SCALES))]
    pace = rng.uniform(0.12, 0.6)
    n_notes = int(n_samples / sample_rate / (0.5 * pace)) + 2
    lengths = (pace * rng.choice([0.5, 1, 1, 1.5, 2, 4], n_notes) * sample_rate).astype(int)
    degrees = rng.integers(-2, 6) + np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2], n_notes))
    degrees = np.clip(degrees, -len(scale), 2 * len(scale))
    semitones = 12 * (degrees // len(scale)) + np.array(scale)[degrees % len(scale)]
    is_rest = rng.random(n_notes) < 0.12
    levels = np.where(is_rest, 0, 10 ** (rng.uniform(-8, 0, n_notes) / 20))
    ends = np.repeat(np.cumsum(lengths), lengths)[:n_samples]
    age = (np.arange(n_samples) - (ends - np.repeat(lengths, lengths)[:n_samples])) / sample_rate
    left = (ends - np.arange(n_samples)) / sample_rate

    glide = np.exp(-1 / (rng.uniform(0.001, 0.04) * sample_rate))
    steps = np.repeat(semitones, lengths)[:n_samples]
    curve = lfilter([1 - glide], [1, -glide], steps, zi=[glide * steps[0]])[0]
    swing = rng.uniform(0, 0.6) * np.clip(age / rng.uniform(0.1, 0.5) - 0.3, 0, 1)
    curve += swing * np.sin(2 * np.pi * rng.uniform(4, 7.5) * np.arange(n_samples) / sample_rate)

    attack, decay = rng.uniform(0.005, 0.08), np.exp(rng.uniform(np.log(0.2), np.log(8)))
    loudness = np.repeat(levels, lengths)[:n_samples] * np.exp(-age / decay)
    loudness *= np.clip(age / attack, 0, 1) * np.clip(left / rng.uniform(0.01, 0.06), 0, 1)
    return rng.uniform(110, 520) * 2 ** (curve / 12), loudness.astype(np.float32)


def _tone(pitch: Curve, sample_rate: int, fall: float, odd_alone: bool) -> Waveform:
    """Harmonics that fall by so many powers of their number, as high as the sample rate allows."""
    wave = np.exp(2j * np.pi * np.cumsum(pitch) / sample_rate).astype(np.complex64)
    power, tone = wave.copy(), np.zeros(pitch.size, np.float32)
    for number in range(1, min(40, int(sample_rate / 2 / pitch.max())) + 1):
        if number % 2 or not odd_alone:
            tone += np.float32(number**-fall) * power.imag
        power *= wave  # its powers are the harmonics
    return tone
