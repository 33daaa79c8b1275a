"""The stems sum to the mixture: the vocals are rounded, the accompaniment is the exact remainder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from duetto.audio import quantise, to_float

STEMS = ("vocals", "accompaniment")


def split_block(
    mixture: NDArray[Any],
    vocals: NDArray[np.float32],
    *,
    bits: int | None,
    bits_out: int | None,
    double: bool = False,
    stems: tuple[str, ...] = STEMS,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Divide a block of the mixture between the stems.

    Floating-point stems sum to the mixture within one unit in the last place of float32, at the magnitude of
    the largest of the three; no choice of stems could be closer where they nearly cancel.

    Args:
        mixture: (n_channels, n_samples) as `AudioReader` gives it.
        vocals: the estimate, of the same shape, full scale 1.
        bits: depth of the mixture's integers, None for floating point.
        bits_out: depth of the stems' integers, None for floating point.
        double: whether floating-point stems are float64.
        stems: those that are wanted.

    Returns:
        The stems as `AudioWriter` takes them, summing to the mixture (at the stems' depth if that is less),
        and how many samples had to be saturated: of the mixture, and of the estimate.
    """
    if bits_out is None:
        return _split_floats(
            mixture, vocals, bits=bits, real=np.float64 if double else np.float32, stems=stems
        ), 0
    n_clipped = 0
    if bits is None or bits > bits_out:
        mixture, n_clipped = quantise(to_real(mixture, bits), bits_out)
    elif bits < bits_out:
        mixture = mixture << (bits_out - bits)
    real: type[np.floating[Any]] = (
        np.float32 if bits_out <= 24 else np.float64
    )  # exact up to 2 ** 24 and 2 ** 53
    top: Any = real(2 ** (bits_out - 1))
    fitting = vocals * top
    np.rint(fitting, out=fitting)
    rest = mixture.astype(real)
    rest -= fitting
    if not (_within(fitting, top) and _within(rest, top)):
        # both stems stay in range: vocals in [-top, top - 1] and whole - vocals in [-top, top - 1]
        wanted, whole = fitting, mixture.astype(real)
        fitting = np.clip(wanted, np.maximum(-top, whole - (top - 1)), np.minimum(top - 1, whole + top))
        rest = whole - fitting
        n_clipped += int(np.count_nonzero(fitting != wanted))
    divided = {"vocals": fitting, "accompaniment": rest}
    return {stem: divided[stem].astype(np.int32) for stem in STEMS if stem in stems}, n_clipped


def _within(block: NDArray[Any], top: Any) -> bool:
    return not block.size or bool(block.min() >= -top and block.max() < top)


def _split_floats(
    mixture: NDArray[Any],
    vocals: NDArray[np.float32],
    *,
    bits: int | None,
    real: type,
    stems: tuple[str, ...],
) -> dict[str, NDArray[Any]]:
    divided: dict[str, NDArray[Any]] = {}
    if "vocals" in stems:
        divided["vocals"] = vocals.astype(real)
    if "accompaniment" in stems:
        divided["accompaniment"] = (to_real(mixture, bits) - vocals).astype(real)
    return divided


def mix_block(
    mixture: NDArray[Any],
    vocals: NDArray[np.float32],
    gains: dict[str, float],
    *,
    bits: int | None,
    bits_out: int | None,
    double: bool = False,
) -> tuple[NDArray[Any], int]:
    """Add the stems up again at other levels.

    Args:
        mixture: (n_channels, n_samples) as `AudioReader` gives it.
        vocals: the estimate, of the same shape, full scale 1.
        gains: factors by stem, 1 leaving a stem as it is and a stem that is not named being silent.
        bits: depth of the mixture's integers, None for floating point.
        bits_out: depth of the mix's integers, None for floating point.
        double: whether a floating-point mix is float64.

    Returns:
        The rebalanced block as `AudioWriter` takes it, and how many samples saturated.
    """
    voice, band = gains.get("vocals", 0.0), gains.get("accompaniment", 0.0)
    mixed = band * to_real(mixture, bits).astype(np.float64) + (voice - band) * vocals.astype(np.float64)
    if bits_out is None:
        return mixed.astype(np.float64 if double else np.float32), 0
    return quantise(mixed, bits_out)


def null_residual(
    mixture: NDArray[Any], bits: int | None, stems: dict[str, NDArray[Any]], bits_out: int | None
) -> float:
    """The largest |sum of the stems - mixture|, full scale being 1.

    Args:
        mixture: the block that was divided, as `AudioReader` gives it.
        bits: depth of its integers, None for floating point.
        stems: both that it was divided into, as `AudioWriter` takes them.
        bits_out: depth of their integers, None for floating point.
    """
    first, second = stems.values()
    if bits is not None and bits == bits_out:  # integers, compared as such
        off = np.add(first, second, dtype=np.int64)
        off -= mixture
        return float(max(off.max(), -off.min())) / 2.0 ** (bits - 1)
    off = np.add(first, second, dtype=np.float64)
    if bits_out is not None:
        off /= 2.0 ** (bits_out - 1)
    off -= to_real(mixture, bits)
    return float(max(off.max(), -off.min()))


def to_real(block: NDArray[Any], bits: int | None) -> NDArray[Any]:
    """A native block as floats, full scale 1, in the type that holds it exactly: float32 or float64."""
    return block / 2.0**31 if bits == 32 else to_float(block, bits) if bits else block
