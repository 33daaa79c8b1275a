"""The papers' objectives against their formulas, and where they must stay finite."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duetto.training.config import LossConfig
from duetto.training.losses import KL_FLOOR, discriminative_loss

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
