"""Test signals, float32 (n_channels, n_samples), and levels."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


def noise(n_channels: int, n_samples: int, seed: int = 0, amplitude: float = 1.0) -> Waveform:
    """White noise, uniform in [-amplitude, amplitude]."""
    samples = np.random.default_rng(seed).uniform(-amplitude, amplitude, (n_channels, n_samples))
    return samples.astype(np.float32)


def tone(
    hertz: float, seconds: float = 1.0, sample_rate: int = 44_100, amplitude: float = 0.3, n_channels: int = 1
) -> Waveform:
    """A sine, the same in every channel."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.tile((amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32), (n_channels, 1))


def chord(n_channels: int = 2, n_samples: int = 50_001, sample_rate: int = 44_100) -> Waveform:
    """Sines of 220, 440, ... Hz, one in each channel."""
    phase = 2 * np.pi * 220 * np.outer(np.arange(1, n_channels + 1), np.arange(n_samples) / sample_rate)
    return (0.5 * np.sin(phase)).astype(np.float32)


def decibels(part: NDArray[np.floating], whole: NDArray[np.floating]) -> float:
    """Level of one signal relative to another; -240 if it is silent."""
    return float(20 * np.log10(np.linalg.norm(part) / np.linalg.norm(whole) + 1e-12))
