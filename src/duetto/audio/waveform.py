"""Validation of waveforms, and their two number types: floats, and integers of a depth."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from duetto.errors import AudioError

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000  # Hz
MAX_CHANNELS = 64
MAX_SAMPLE = 1e12  # full scale being 1; the squares of far larger ones overflow float32


def check_waveform(audio: ArrayLike, *, sample_rate: float | None = None) -> NDArray[np.float32]:
    """Check a waveform and give it its one form.

    Args:
        audio: Real floats, (n_channels, n_samples) or (n_samples,). Never modified.
        sample_rate: In Hz; checked where given.

    Returns:
        (n_channels, n_samples) float32: the caller's own memory where nothing had to be converted.

    Raises:
        AudioError: Not real floats, not 1-D or 2-D, empty, too many channels, samples that are NaN, infinite
            or absurd, or a sample rate out of range.
    """
    try:
        array = np.asarray(audio)
    except ValueError as error:
        raise AudioError(
            "the waveform's channels differ in length; pass one array (n_channels, n_samples)"
        ) from error
    if array.dtype.kind in "iu":
        half, offset = 2 ** (8 * array.dtype.itemsize - 1), array.dtype.kind == "u"
        convert = f"(audio - {half:.1f}) / {half}" if offset else f"audio / {half}"
        raise AudioError(f"the waveform holds integers ({array.dtype}); pass floats in [-1, 1]: {convert}")
    if array.dtype.kind != "f":
        raise AudioError(f"the waveform holds {array.dtype}; pass real floats, such as float32")
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(
            f"the waveform has shape {array.shape}; pass (n_channels, n_samples) or (n_samples,), not empty"
        )
    waveform = np.atleast_2d(array)
    if waveform.shape[0] > MAX_CHANNELS:
        hint = "; is it transposed? pass audio.T" if waveform.shape[0] > waveform.shape[1] else ""
        raise AudioError(f"the waveform has {waveform.shape[0]} channels; allowed: 1 to {MAX_CHANNELS}{hint}")
    if sample_rate is not None:
        check_sample_rate(sample_rate, "the waveform")
    return check_finite(waveform, "the waveform")


def to_float(block: NDArray[Any], bits: int | None) -> NDArray[np.float32]:
    """Turn a native block of any shape into float32, full scale being 1.

    Args:
        block: Integers of depth `bits`, or floats.
        bits: Integer depth, or None for floats, which are only cast.
    """
    if bits is None:
        return block.astype(np.float32, copy=False)
    return (block / 2.0 ** (bits - 1)).astype(np.float32)


def quantise(audio: NDArray[np.floating[Any]], bits: int) -> tuple[NDArray[np.int32], int]:
    """Round floats, full scale 1, half to even to integers of depth `bits`.

    Returns:
        The integers, shaped as `audio`, and the number of samples that saturated.
    """
    full_scale = 2.0 ** (bits - 1)
    rounded = np.rint(audio * full_scale, dtype=np.float64)
    block = np.clip(rounded, -full_scale, full_scale - 1)
    return block.astype(np.int32), int(np.count_nonzero(block != rounded))


def check_sample_rate(sample_rate: float, name: str) -> int:
    """Return a sample rate in Hz as an int, or raise an AudioError about `name`."""
    if (
        isinstance(sample_rate, bool | np.bool_)
        or not isinstance(sample_rate, int | float | np.integer | np.floating)
        or not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE
        or sample_rate != int(sample_rate)
    ):
        allowed = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, a whole number; resample it first"
        raise AudioError(f"{name} has sample rate {sample_rate!r}; allowed: {allowed}")
    return int(sample_rate)


def check_n_channels(n_channels: int, name: str) -> None:
    """Raise an AudioError about `name` if a channel count is out of range."""
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise AudioError(f"{name} has {n_channels} channels; allowed: 1 to {MAX_CHANNELS}")


def check_finite(block: NDArray[Any], name: str, start: int = 0) -> NDArray[np.float32]:
    """Cast a block to float32, or raise an AudioError if a sample is NaN, infinite or absurd.

    Args:
        block: (n_channels, n) floats.
        name: What the message calls it.
        start: The place of its first sample in its file.
    """
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is refused as such
        cast = block.astype(np.float32, copy=False)
    finite = np.isfinite(cast)
    if not finite.all():
        sample, channel = np.argwhere(~finite.T)[0]
        where = f"the first is sample {start + sample} of channel {channel} (counted from 0)"
        raise AudioError(
            f"{name} has {np.count_nonzero(~finite)} NaN or infinite samples, {where}; repair it first"
        )
    largest = max(-cast.min(), cast.max()) if cast.size else 0.0
    if largest > MAX_SAMPLE:
        allowed = f"up to {MAX_SAMPLE:g}, full scale being 1; scale it first"
        raise AudioError(f"{name} has a sample of {largest:.4g}; allowed: {allowed}")
    return cast
