"""Stereo as mid and side, and back; transforms and masks are linear in them."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


def to_mid_side(waveform: Waveform) -> Waveform:
    """Left and right (2, n_samples) to mid, their mean, and side, half of left minus right.

    A waveform of another number of channels is returned as it is.
    """
    return _sum_and_difference(waveform * np.float32(0.5)) if len(waveform) == 2 else waveform


def to_left_right(waveform: Waveform) -> Waveform:
    """The inverse of `to_mid_side`."""
    return _sum_and_difference(waveform) if len(waveform) == 2 else waveform


def _sum_and_difference(waveform: Waveform) -> Waveform:
    first, second = waveform
    combined = np.empty_like(waveform)
    np.add(first, second, out=combined[0])
    np.subtract(first, second, out=combined[1])
    return combined
