"""The stems sum to the mixture: the vocals are rounded, the accompaniment is the exact remainder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio import quantise, to_float


def split_block(
    mixture: NDArray[Any], vocals: NDArray[np.float32], *, bits: int | None, bits_out: int | None
) -> tuple[dict[str, NDArray[Any]], int]:
    """Divide a block of the mixture between the stems.

    Args:
        mixture: (n_channels, n_samples) as `AudioReader` gives it.
        vocals: the estimate, of the same shape, full scale 1.
        bits: depth of the mixture's integers, None for floating point.
        bits_out: depth of the stems' integers, None for floating point.

    Returns:
        "vocals" and "accompaniment" as `AudioWriter` takes them, summing to the mixture (at the stems' depth
        if that is less), and how many samples had to be saturated: of the mixture, and of the estimate.
    """
    if bits_out is None:
        whole = mixture if bits is None else to_float(mixture, bits)
        return {"vocals": vocals.astype(whole.dtype), "accompaniment": whole - vocals}, 0
    n_clipped = 0
    if bits is None or bits > bits_out:
        mixture, n_clipped = quantise(to_float(mixture, bits), bits_out)
    elif bits < bits_out:
        mixture = mixture << (bits_out - bits)
    real = np.float32 if bits_out <= 24 else np.float64  # exact up to 2 ** 24 and 2 ** 53
    top = real(2 ** (bits_out - 1))
    whole = mixture.astype(real)
    wanted = np.rint(vocals * top)
    # both stems stay in range: vocals in [-top, top - 1] and whole - vocals in [-top, top - 1]
    fitting = np.clip(wanted, np.maximum(-top, whole - (top - 1)), np.minimum(top - 1, whole + top))
    n_clipped += int(np.count_nonzero(fitting != wanted))
    stems = {"vocals": fitting.astype(np.int32), "accompaniment": (whole - fitting).astype(np.int32)}
    return stems, n_clipped
