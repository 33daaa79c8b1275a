"""A stereo waveform as its middle and its side, and back; both transforms and masks are linear in them."""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


def middle_and_side(waveform: Waveform) -> Waveform:
    """Left and right (2, n_samples) to their mean and half of left minus right; others as they are."""
    if len(waveform) != 2:
        return waveform
    left, right = waveform * np.float32(0.5)
    turned = np.empty_like(waveform)
    np.add(left, right, out=turned[0])
    np.subtract(left, right, out=turned[1])
    return turned


def left_and_right(waveform: Waveform) -> Waveform:
    """The inverse of `middle_and_side`."""
    if len(waveform) != 2:
        return waveform
    middle, side = waveform
    turned = np.empty_like(waveform)
    np.add(middle, side, out=turned[0])
    np.subtract(middle, side, out=turned[1])
    return turned
