"""Losses of networks: from the sources of a batch, by the network's input, to a scalar."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from duetto.dsp.stft import STFT
from duetto.training.config import Config, LossConfig
from duetto.training.torch_stft import magnitude, stft_forward, stft_inverse

Objective = Callable[[nn.Module, Tensor], Tensor]
"""A network and sources (batch_size, 2, n_channels, n_samples), vocals first, to the loss, a scalar."""

QUIET = 1e-3
"""Mean magnitude of a mixture below which its errors weigh less."""

KL_FLOOR = 1e-3
"""Constant that keeps the logarithm finite, as in the authors' code; added to both magnitudes, so that the
divergence is 0 where they are equal and positive elsewhere."""


def build_objective(config: Config) -> Objective:
    """Build the objective of a recipe's network."""
    if config.network.input == "spectrogram":
        return partial(_spectrogram_objective, config, config.stft.build(centred=True))
    return partial(_magnitude_objective, config, config.stft.build(centred=False))


def _magnitude_objective(config: Config, stft: STFT, network: nn.Module, sources: Tensor) -> Tensor:
    sources = sources.mean(2)
    targets, mixture = magnitude(stft, sources), magnitude(stft, sources.sum(1))
    estimates = network(mixture)
    return discriminative_loss(config.loss, targets[:, : estimates.shape[1]], estimates)


def _spectrogram_objective(config: Config, stft: STFT, network: nn.Module, sources: Tensor) -> Tensor:
    sources = mid_and_side(sources)[:, :, : config.network.n_channels]
    vocals, mixture = sources[:, 0], sources.sum(1)
    spectrogram = stft_forward(stft, mixture)
    estimate = network(spectrogram)
    waveform = stft_inverse(stft, estimate, mixture.shape[-1])
    loss = reconstruction_loss(config.loss, vocals, waveform, mixture)
    of_spectrogram = reconstruction_loss(config.loss, stft_forward(stft, vocals), estimate, spectrogram)
    return loss + config.loss.spectrogram * of_spectrogram


def mid_and_side(waveform: Tensor) -> Tensor:
    """Waveform (..., n_channels, n_samples), mono or stereo, to mid and side (..., 2, n_samples)."""
    first, last = waveform[..., 0, :], waveform[..., -1, :]
    return torch.stack([(first + last) / 2, (first - last) / 2], dim=-2)


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
        targets: reference magnitudes (batch_size, 2, n_bins, n_frames).
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
    sign, a constant and the floor; errors of spectrograms may weigh more where an estimate is quieter than
    the target (`config.missed`).

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
    if config.missed and target.is_complex():
        is_softer = (estimate.detach().abs() < target.abs()).flatten(1)
        error = error * (1 + config.missed * is_softer).sqrt()
    ratio = error.square().mean(1) / (level.square().mean(1) + QUIET**2)
    return torch.log10(ratio + 10 ** (config.floor_db / 10)).mean()
