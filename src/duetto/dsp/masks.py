"""Time-frequency masks from estimated magnitudes, and phase estimation by Griffin-Lim."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.stft import STFT

Spectra = dict[str, NDArray[np.float32]]


def ratio_masks(magnitudes: Mapping[str, NDArray[np.float32]], *, power: float = 1.0) -> Spectra:
    """Soft masks |Y_i|^p / sum_j |Y_j|^p, which sum to 1 (Huang et al. 2014, equation 2).

    Args:
        magnitudes: source name -> non-negative array (..., n_frames, n_bins).
        power: 1 is the papers' ratio mask, 2 the Wiener mask.

    Returns:
        Source name -> mask of the same shape in [0, 1]. Where every magnitude is 0 all masks are equal.
    """
    powers = {name: np.asarray(magnitude, np.float32) ** power for name, magnitude in magnitudes.items()}
    total = np.sum(list(powers.values()), axis=0)
    equal = np.float32(1 / len(powers))
    return {
        name: np.divide(value, total, out=np.full_like(total, equal), where=total > 0)
        for name, value in powers.items()
    }


def wiener_masks(magnitudes: Mapping[str, NDArray[np.float32]]) -> Spectra:
    """Masks from power ratios, |Y_i|^2 / sum_j |Y_j|^2: Wiener's filter for independent sources."""
    return ratio_masks(magnitudes, power=2.0)


def binary_masks(magnitudes: Mapping[str, NDArray[np.float32]]) -> Spectra:
    """Hard masks: a bin belongs wholly to the loudest source, on a tie to the first of them.

    Huang et al. 2014, equation 3. Shapes as in `ratio_masks`.
    """
    loudest = np.argmax(np.stack(list(magnitudes.values())), axis=0)
    return {name: (loudest == index).astype(np.float32) for index, name in enumerate(magnitudes)}


def griffin_lim(
    magnitude: NDArray[np.float32], initial: NDArray[np.complex64], stft: STFT, n_samples: int, *, n_iter: int
) -> NDArray[np.float32]:
    """Waveform whose spectrogram has nearly the given magnitude, with a phase estimated for it.

    Griffin and Lim, "Signal estimation from modified short-time Fourier transform", IEEE Transactions on
    Acoustics, Speech, and Signal Processing, 1984.

    Args:
        magnitude: target magnitude (..., n_frames, n_bins).
        initial: spectrogram of the same shape whose phase is the first estimate, here the mixture's.
        stft: the transform of both.
        n_samples: samples of the waveform.
        n_iter: iterations of inverse and forward transform; 0 keeps the initial phase.

    Returns:
        Waveform (..., n_samples), float32.
    """
    waveform = stft.inverse(magnitude * np.exp(1j * np.angle(initial)), n_samples)
    for _ in range(n_iter):
        waveform = stft.inverse(magnitude * np.exp(1j * np.angle(stft.forward(waveform))), n_samples)
    return waveform
