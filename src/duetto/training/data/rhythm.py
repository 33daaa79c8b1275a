"""A drum kit, a bass and a driven guitar, synthesised: what most songs stand on.

A bar has sixteen steps; kit, patterns, tempo and chords are drawn anew each time.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.training.data.augment import decibels, rms

Waveform = NDArray[np.float32]
Rng = np.random.Generator

N_STEPS = 16
"""In a bar of four beats."""

KICKS = ("x...x...x...x...", "x.....x.x.......", "x..x..x...x.....", "x.......x.x.....", "x......xx..x....")
SNARES = ("....x.......x...", "....x.......x..x", "........x.......", "....x..x.x..x...")
HATS = ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "x...x...x...x...", "..x...x...x...x.", "x..xx.x.x..xx.x.")
BASSES = ("x.x.x.x.x.x.x.x.", "x.....x.x.....x.", "x...x...x...x...", "x..x..x.x..x..x.", "x...............")
CHORDS = (0, 0, -5, -4, -2, 3, 5, 7)
"""Semitones of a bar's root above the key's; the key's own is the most likely."""


def rhythm(n_samples: int, sample_rate: int, rng: Rng) -> Waveform:
    """Some of drums, bass and guitar together (1, n_samples), at a root mean square of about 0.1."""
    step = 60 / rng.uniform(70, 180) / 4 * sample_rate
    n_bars = int(n_samples / (step * N_STEPS)) + 2
    shift = int(rng.uniform(0, step * N_STEPS))  # it is under way already
    length = n_samples + shift
    key = rng.uniform(36, 80)
    roots = key * 2 ** (rng.choice(CHORDS, n_bars) / 12)
    layers: list[tuple[float, Callable[[], Waveform]]] = [
        (0.85, lambda: _drums(length, step, n_bars, sample_rate, rng)),
        (0.7, lambda: _bass(length, step, roots, sample_rate, rng)),
        (0.35, lambda: _guitar(length, step, roots, sample_rate, rng)),
    ]
    played = np.zeros(length, np.float32)
    for play in [play for share, play in layers if rng.random() < share] or [layers[0][1]]:
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
    """Plucked tones of harmonics of these weights, on the beats of a pattern."""
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
    """Steps on which a pattern sounds, a few of them left out."""
    hits = [step for step, mark in enumerate(pattern) if mark == "x"]
    return [bar * N_STEPS + hit for bar in range(n_bars) for hit in hits if rng.random() > 0.07]


def _thump(rate: int, rng: Rng, pitch: float, decay: float) -> Waveform:
    """A skin: a tone that falls to its pitch, and the click of the beater."""
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
    """Noise that dies away, its low end taken off `bright` times by 6 dB an octave."""
    noise = rng.standard_normal(int(5 * decay * rate) + bright)
    for _ in range(bright):
        noise = np.diff(noise)
    return (noise * np.exp(-np.arange(noise.size) / (decay * rate))).astype(np.float32)


def _add(played: Waveform, sound: Waveform, start: float, level_db: float) -> None:
    first = int(start)
    n_samples = min(sound.size, played.size - first)
    if n_samples > 0:
        played[first : first + n_samples] += sound[:n_samples] * np.float32(decibels(level_db))
