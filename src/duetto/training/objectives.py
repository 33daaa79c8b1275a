"""What a network is trained to do: from the sources of a batch to its loss, by what the network sees."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from duetto.dsp.stft import STFT
from duetto.training.config import Config
from duetto.training.losses import discriminative_loss, reconstruction_loss
from duetto.training.torch_stft import magnitude, stft_forward, stft_inverse

Objective = Callable[[nn.Module, Tensor], Tensor]
"""A network and sources (batch_size, 2, n_channels, n_samples), vocals first, to the loss, a scalar."""


def build_objective(config: Config) -> Objective:
    """The objective of a recipe's network."""
    if config.network.input == "spectrogram":
        stft = config.stft.build(centred=True)
        return lambda network, sources: _spectrograms(config, stft, network, sources)
    stft = config.stft.build(centred=False)
    return lambda network, sources: _magnitudes(config, stft, network, sources)


def _magnitudes(config: Config, stft: STFT, network: nn.Module, sources: Tensor) -> Tensor:
    sources = sources.mean(2)
    targets, mixture = magnitude(stft, sources), magnitude(stft, sources.sum(1))
    estimates = network(mixture)
    return discriminative_loss(config.loss, targets[:, : estimates.shape[1]], estimates)


def _spectrograms(config: Config, stft: STFT, network: nn.Module, sources: Tensor) -> Tensor:
    sources = middle_and_side(sources)[:, :, : config.network.n_channels]
    vocals, mixture = sources[:, 0], sources.sum(1)
    seen = stft_forward(stft, mixture)
    estimate = network(seen)
    heard = stft_inverse(stft, estimate, mixture.shape[-1])
    error = partial(reconstruction_loss, config.loss)
    loss = error(vocals, heard, mixture)
    return loss + config.loss.spectrogram * error(stft_forward(stft, vocals), estimate, seen)


def middle_and_side(waveform: Tensor) -> Tensor:
    """Waveform (..., n_channels, n_samples), mono or stereo, to middle and side (..., 2, n_samples)."""
    first, last = waveform[..., 0, :], waveform[..., -1, :]
    return torch.stack([(first + last) / 2, (first - last) / 2], dim=-2)
