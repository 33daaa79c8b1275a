"""Losses: the papers' squared error and divergence with discrimination; absolute errors of what is heard."""

import torch
from torch import Tensor

from duetto.training.config import LossConfig

SDR_FLOOR = 1e-3
"""Energy against that of the mixture, -30 dB, below which errors count for less and less."""

QUIET = 1e-3
"""Mean magnitude of a mixture under which its errors count for less."""

KL_FLOOR = 1e-3
"""The constant of the authors' code that keeps the logarithm finite, added to both magnitudes so that the
divergence stays 0 where they are equal and positive elsewhere."""


def _squared_error(target: Tensor, estimate: Tensor) -> Tensor:
    return 0.5 * (estimate - target).square()


def _kl_divergence(target: Tensor, estimate: Tensor) -> Tensor:
    target = target + KL_FLOOR
    estimate = estimate.abs() + KL_FLOOR  # an output without a mask layer may be negative
    return target * torch.log(target / estimate) - target + estimate


def discriminative_loss(config: LossConfig, targets: Tensor, estimates: Tensor) -> Tensor:
    """Loss of estimated magnitudes, summed over sources and bins, averaged over batch and frames.

    J = sum_i D(t_i, y_i) - gamma D(t_j, y_i), j being the other source; D is half the squared error
    (Huang et al. 2014, equation 8) or the generalised KL divergence (equation 9).

    Args:
        config: the divergence and gamma, the weight of the discrimination term.
        targets: true magnitudes (batch_size, 2, n_bins, n_frames).
        estimates: estimated magnitudes of the same shape.

    Returns:
        The loss, a scalar.
    """
    divergence = _squared_error if config.kind == "mse" else _kl_divergence
    loss = divergence(targets, estimates)
    if config.discrimination:
        loss = loss - config.discrimination * divergence(targets.flip(1), estimates)
    return loss.sum((1, 2)).mean()


def reconstruction_loss(config: LossConfig, target: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    """Error of waveforms or complex spectrograms relative to the mixture, averaged over the batch.

    With "l1" the mean absolute error relative to the mean magnitude of the mixture. With "sdr" the logarithm
    of the squared error relative to the energy of the mixture, a tenth of the SDR in decibels but for its
    sign, a constant and `SDR_FLOOR`.

    Args:
        config: the kind.
        target: waveforms or complex spectrograms (batch_size, ...).
        estimate: of the same shape.
        mixture: of the same shape.

    Returns:
        The loss, a scalar.
    """
    error, level = (estimate - target).abs().flatten(1), mixture.abs().flatten(1)
    if config.kind == "l1":
        return (error.mean(1) / (level.mean(1) + QUIET)).mean()
    share = error.square().mean(1) / (level.square().mean(1) + QUIET**2)
    return torch.log10(share + SDR_FLOOR).mean()
