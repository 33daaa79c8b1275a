"""Losses and objectives: against their formulas, zero for perfect networks, finite at silence."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from duetto.dsp.stft import STFT
from duetto.training.config import Config, LossConfig
from duetto.training.config_io import parse_config
from duetto.training.losses import (
    KL_FLOOR,
    build_objective,
    discriminative_loss,
    mid_and_side,
    reconstruction_loss,
)
from duetto.training.torch_stft import magnitude, stft_forward

# --- discriminative losses

SHAPE = (2, 2, 3, 4)  # batch, sources, bins, frames


def loss(kind: str, gamma: float, targets: Tensor, estimates: Tensor) -> Tensor:
    return discriminative_loss(
        LossConfig.model_validate({"kind": kind, "discrimination": gamma}), targets, estimates
    )


def divergence(kind: str, t: float, y: float) -> float:
    if kind == "mse":
        return (y - t) ** 2 / 2
    return (t + KL_FLOOR) * math.log((t + KL_FLOOR) / (y + KL_FLOOR)) - t + y


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.5])
def test_equals_the_formula(rng: np.random.Generator, kind: str, gamma: float) -> None:
    targets, estimates = rng.uniform(0, 5, (2, *SHAPE))
    expected = 0.0
    for batch, source, k, frame in np.ndindex(SHAPE):
        y = estimates[batch, source, k, frame]
        own, other = targets[batch, source, k, frame], targets[batch, 1 - source, k, frame]
        expected += divergence(kind, own, y) - gamma * divergence(kind, other, y)
    expected /= SHAPE[0] * SHAPE[3]  # summed over sources and bins, averaged over excerpts and frames
    found = loss(kind, gamma, torch.from_numpy(targets), torch.from_numpy(estimates))
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_discrimination_prefers_estimates_unlike_the_other_source(kind: str) -> None:
    targets = torch.tensor([[[[1.0]], [[3.0]]]])
    nearer, farther = torch.tensor([[[[1.4]], [[3.0]]]]), torch.tensor([[[[0.6]], [[3.0]]]])
    plain = loss(kind, 0.0, targets, nearer) - loss(kind, 0.0, targets, farther)
    discriminating = loss(kind, 0.3, targets, nearer) - loss(kind, 0.3, targets, farther)
    assert discriminating > plain


magnitudes = st.floats(0, 1e3, width=32)


@pytest.mark.parametrize("kind", ["mse", "kl"])
@given(t=magnitudes, y=magnitudes)
def test_without_discrimination_the_loss_is_a_divergence(kind: str, t: float, y: float) -> None:
    targets, estimates = torch.full(SHAPE, t).double(), torch.full(SHAPE, y).double()
    assert loss(kind, 0.0, targets, estimates) >= -1e-9
    assert abs(loss(kind, 0.0, targets, targets)) < 1e-9
    if abs(t - y) > 1e-3 * (1 + t):
        assert loss(kind, 0.0, targets, estimates) > 0


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("estimate", [-2.0, 0.0, 1.0])
def test_loss_and_gradient_are_finite_at_zeros_and_below(kind: str, target: float, estimate: float) -> None:
    estimates = torch.full(SHAPE, estimate, requires_grad=True)
    value = loss(kind, 0.05, torch.full(SHAPE, target), estimates)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(estimates.grad).all()


def test_kl_is_bounded_below_where_outputs_may_be_negative() -> None:
    """Without a mask layer, outputs far below zero once lowered the loss without end."""
    far = loss("kl", 0.0, torch.ones(SHAPE), torch.full(SHAPE, -1e4))
    assert far > loss("kl", 0.0, torch.ones(SHAPE), torch.full(SHAPE, -1.0))


# --- objectives

N_FFT, HOP = 64, 16
CENTRED = STFT(n_fft=N_FFT, hop_length=HOP, window="hann")


class Stub(nn.Module):
    """Gives what it was told to, and keeps what it saw."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, seen: Tensor) -> Tensor:
        self.seen = seen
        return self.answer(seen)


def spectrograms(n_channels: int = 1, weight: float = 0.3) -> Config:
    return parse_config(
        {
            "stft": {"n_fft": N_FFT, "hop_length": HOP, "window": "hann"},
            "network": {"kind": "unet", "n_sub_bands": 2, "n_levels": 2, "n_channels": n_channels},
            "loss": {"kind": "l1", "spectrogram": weight},
        }
    )


def sources(n_channels: int = 2, batch_size: int = 3, n_samples: int = 20 * HOP) -> Tensor:
    chance = torch.Generator().manual_seed(0)
    return 0.2 * torch.randn((batch_size, 2, n_channels, n_samples), generator=chance)


# --- middle and side


def test_mono_has_no_side() -> None:
    for mono in (sources(1), sources(1).expand(3, 2, 2, -1)):
        found = mid_and_side(mono)
        assert found.shape == (3, 2, 2, 20 * HOP)
        assert torch.equal(found[..., 0, :], mono[..., 0, :])
        assert not found[..., 1, :].any()


def test_to_mid_side_give_left_and_right_back() -> None:
    stereo = sources(2)
    middle, side = mid_and_side(stereo).unbind(-2)
    assert torch.allclose(torch.stack([middle + side, middle - side], -2), stereo, atol=1e-7)
    assert torch.allclose(middle, stereo.mean(-2), atol=1e-7)


# --- spectrograms


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_recorded", [1, 2])
def test_a_perfect_network_of_spectrograms_loses_nothing(n_channels: int, n_recorded: int) -> None:
    recorded = sources(n_recorded)
    vocals = stft_forward(CENTRED, mid_and_side(recorded)[:, 0, :n_channels])
    network = Stub(lambda seen: vocals)
    loss = build_objective(spectrograms(n_channels))(network, recorded)
    assert loss.shape == ()
    assert float(loss) < 1e-5
    mixture = stft_forward(CENTRED, mid_and_side(recorded).sum(1)[:, :n_channels])
    assert network.seen.shape == mixture.shape == (3, n_channels, CENTRED.n_bins, 21)
    assert torch.allclose(network.seen, mixture, atol=1e-5)


def test_the_loss_is_that_of_the_waveform_and_its_weight_times_that_of_the_spectrogram() -> None:
    """The mixture as the estimate errs by the accompaniment."""
    recorded = sources(1)
    (_, accompaniment), mixture = recorded[:, :, 0].unbind(1), recorded[:, :, 0].sum(1)
    waveform_error = (accompaniment.abs().mean(1) / (mixture.abs().mean(1) + 1e-3)).mean()
    missed, whole = (stft_forward(CENTRED, x).abs().mean((1, 2)) for x in (accompaniment, mixture))
    spectrogram_error = (missed / (whole + 1e-3)).mean()
    for weight in (0.0, 0.3, 2.0):
        loss = build_objective(spectrograms(weight=weight))(Stub(lambda x: x), recorded)
        assert float(loss) == pytest.approx(float(waveform_error + weight * spectrogram_error), rel=1e-5)


def test_a_mono_network_learns_from_the_middle_alone() -> None:
    recorded, objective = sources(2), build_objective(spectrograms(1))
    other = recorded + torch.tensor([[0.1], [-0.1]])  # in the side
    losses = [float(objective(Stub(lambda seen: seen / 2), batch)) for batch in (recorded, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_gradients_flow_to_the_estimate_and_are_finite_on_silence() -> None:
    for recorded in (sources(1), torch.zeros(3, 2, 1, 20 * HOP)):
        factor = torch.ones((), requires_grad=True)
        loss = build_objective(spectrograms())(Stub(lambda seen, factor=factor: seen * factor), recorded)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(factor.grad)
        assert bool(factor.grad > 0) == bool(recorded.any())


# --- magnitudes


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_network_of_magnitudes_sees_the_mean_of_the_channels(n_channels: int) -> None:
    config = parse_config({"stft": {"n_fft": N_FFT, "hop_length": HOP}, "loss": {"discrimination": 0}})
    stft, recorded = config.stft.build(centred=False), sources(n_channels)
    targets = magnitude(stft, recorded.mean(2))
    network = Stub(lambda seen: targets)
    assert float(build_objective(config)(network, recorded)) == 0
    assert torch.allclose(network.seen, magnitude(stft, recorded.mean(2).sum(1)))
    wrong = Stub(lambda seen: targets.flip(1))
    expected = discriminative_loss(LossConfig(discrimination=0), targets, targets.flip(1))
    assert float(build_objective(config)(wrong, recorded)) == pytest.approx(float(expected))


# --- the loss itself


L1, SDR = LossConfig(kind="l1"), LossConfig(kind="sdr")


def test_the_absolute_error_is_relative_to_the_mixture() -> None:
    """Errors of 0.1 under mixtures of 0.5 and of 1: a mean of 0.2 and 0.1, but for what is quiet."""
    target, mixture = torch.zeros(2, 3, 8), torch.tensor([0.5, -1.0])[:, None, None].expand(2, 3, 8)
    loss = reconstruction_loss(L1, target, target - 0.1, mixture)
    assert float(loss) == pytest.approx(0.15, rel=2e-3)
    assert float(reconstruction_loss(L1, mixture, mixture, mixture)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_loss_of_sdr_is_a_tenth_of_decibels_down_to_its_floor(dtype: torch.dtype) -> None:
    """Errors 10 and 20 dB below their mixtures: -1 and -2, but for the floor; without any error the floor."""
    mixture = torch.randn((2, 3, 500), generator=torch.Generator().manual_seed(0), dtype=dtype)
    target = 0.3 * mixture
    error = mixture * torch.tensor([10**-0.5, 0.1])[:, None, None]
    loss = float(reconstruction_loss(SDR, target, target + error, mixture))
    assert loss == pytest.approx((np.log10(0.1 + 1e-3) + np.log10(0.01 + 1e-3)) / 2, abs=1e-4)
    assert float(reconstruction_loss(SDR, target, target, mixture)) == pytest.approx(-3, abs=1e-4)


@pytest.mark.parametrize("config", [L1, SDR], ids=["l1", "sdr"])
@pytest.mark.parametrize("gain", [0.5, 10.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_reconstruction_does_not_depend_on_how_loud_music_is(
    config: LossConfig, gain: float, dtype: torch.dtype
) -> None:
    chance = torch.Generator().manual_seed(0)
    target, estimate, mixture = torch.randn((3, 2, 4, 50), generator=chance, dtype=dtype)
    plain, louder = (
        float(reconstruction_loss(config, g * target, g * estimate, g * mixture)) for g in (1.0, gain)
    )
    assert louder == pytest.approx(plain, rel=5e-3)
    assert plain > 0.2


@pytest.mark.parametrize(("config", "least"), [(L1, 0), (SDR, -3)], ids=["l1", "sdr"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_reconstruction_of_silence_is_the_least_with_a_finite_gradient(
    config: LossConfig, least: float, dtype: torch.dtype
) -> None:
    silence = torch.zeros(2, 1, 5, dtype=dtype)
    estimate = silence.clone().requires_grad_()
    loss = reconstruction_loss(config, silence, estimate, silence)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(least)
    assert torch.equal(estimate.grad, silence)


def sdr_loss(target: Tensor, estimate: Tensor, **settings: float) -> float:
    config = LossConfig.model_validate({"kind": "sdr", "discrimination": 0, **settings})
    return float(reconstruction_loss(config, target, estimate, 2 * target))


def test_the_sdr_loss_falls_by_one_for_10_db_down_to_its_floor() -> None:
    target = torch.ones(1, 50)
    losses = [sdr_loss(target, (1 - error) * target, floor_db=-60) for error in (0.2, 0.2 / math.sqrt(10))]
    assert losses[0] - losses[1] == pytest.approx(1, abs=0.01)
    assert sdr_loss(target, target, floor_db=-30) == pytest.approx(-3, abs=1e-4)
    assert sdr_loss(target, target, floor_db=-20) == pytest.approx(-2, abs=1e-4)


def test_what_is_missed_counts_more_than_what_is_too_loud_in_spectrograms_alone() -> None:
    target = torch.full((1, 3, 4), 1 + 1j)
    for is_complex in (True, False):
        own = target if is_complex else target.real
        softer, louder = (sdr_loss(own, gain * own, missed=1.0, floor_db=-60) for gain in (0.8, 1.2))
        plain = sdr_loss(own, 0.8 * own, floor_db=-60)
        assert louder == pytest.approx(plain, abs=1e-4)
        assert softer - louder == pytest.approx(math.log10(2) if is_complex else 0, abs=1e-4)
