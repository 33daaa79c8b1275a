"""Optimisers: a step of Muon, groups of weights, schedule, moving average, and that they learn."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from duetto.training.config import Config, DRNNConfig, LossConfig, OptimiserConfig
from duetto.training.losses import discriminative_loss
from duetto.training.networks import build_network
from duetto.training.optimisers import (
    Muon,
    build_average,
    build_optimisers,
    learning_rate_fraction,
    orthogonalised,
)
from helpers.quick import at_most

SHAPES = [(4, 8), (8, 4), (16, 64), (64, 16), (6, 4, 3, 3), (90, 2, 3, 3), (1, 30), (30, 1)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def singular_values(update: Tensor) -> Tensor:
    return torch.linalg.svdvals(update.flatten(1))


def tallness(update: Tensor) -> float:
    n_rows, n_columns = update.flatten(1).shape
    return max(1.0, n_rows / n_columns) ** 0.5


# --- one update


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_singular_values_come_near_1_times_the_root_of_rows_per_column(shape: tuple[int, ...]) -> None:
    found = orthogonalised(random(*shape), 5)
    assert found.shape == shape
    values = singular_values(found) / tallness(found)
    assert 0.65 < values.min() <= values.max() < 1.25


@given(
    small=st.integers(1, 12),
    times=st.integers(2, 4),
    tall=st.booleans(),
    seed=st.integers(0, 99),
    scale=st.floats(1e-3, 1e3),
)
@at_most(40)
def test_an_update_keeps_its_direction_and_not_its_size(
    small: int, times: int, tall: bool, seed: int, scale: float
) -> None:
    shape = (small * times, small) if tall else (small, small * times)
    update = random(*shape, seed=seed)
    found = orthogonalised(update, 5)
    assert (update * found).sum() > 0.5 * update.norm() * found.norm()
    assert torch.allclose(orthogonalised(update * scale, 5), found, atol=1e-3)
    assert torch.allclose(orthogonalised(-update, 5), -found, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
def test_the_singular_vectors_stay(shape: tuple[int, int]) -> None:
    update = random(*shape).double()
    left, _, right = torch.linalg.svd(update, full_matrices=False)
    turned = left.T @ orthogonalised(update, 5) @ right.T
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-9)
    assert turned.diagonal().min() > 0.6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_papers_iteration(shape: tuple[int, ...]) -> None:
    """X <- 3.4445 X - 4.775 (X X') X + 2.0315 (X X')^2 X, five times, from a matrix of norm 1."""
    update = random(*shape).double()
    wanted = update.flatten(1) / update.norm()
    for _ in range(5):
        square = wanted @ wanted.T
        wanted = 3.4445 * wanted - 4.775 * square @ wanted + 2.0315 * square @ square @ wanted
    found = orthogonalised(update, 5) / tallness(update)
    torch.testing.assert_close(found.flatten(1), wanted, atol=1e-6, rtol=1e-5)


def test_a_matrix_of_low_rank_stays_so() -> None:
    update = random(8, 2) @ random(2, 12, seed=1)
    values = singular_values(orthogonalised(update, 5))
    assert values[1] > 0.6
    assert values[2] < 1e-3


def test_no_gradient_is_no_update() -> None:
    assert not orthogonalised(torch.zeros(4, 6), 5).any()


# --- steps


def test_a_step_moves_a_weight_by_its_rate_times_the_orthogonal_gradient() -> None:
    for shape in SHAPES:
        before, gradient = random(*shape), random(*shape, seed=1)
        weight = nn.Parameter(before.clone())
        weight.grad = gradient.clone()
        Muon([{"params": [weight]}], lr=0.1).step()
        assert torch.allclose(weight.detach(), before - 0.1 * orthogonalised(gradient, 5), atol=1e-5)
        assert torch.equal(weight.grad, gradient)


def test_two_steps_by_hand() -> None:
    """m1 = 0.2 g1, u1 = 0.2 g1 + 0.8 m1; m2 = 0.8 m1 + 0.2 g2, u2 = 0.2 g2 + 0.8 m2; and the decay."""
    first, second, start = random(3, 7, seed=1), random(3, 7, seed=2), random(3, 7)
    weight = nn.Parameter(start.clone())
    muon = Muon([{"params": [weight]}], lr=0.5, momentum=0.8, weight_decay=0.1)
    for gradient in (first, second):
        weight.grad = gradient.clone()
        muon.step()
    expected = start * 0.95 - 0.5 * orthogonalised(0.36 * first, 5)
    expected = expected * 0.95 - 0.5 * orthogonalised(0.128 * first + 0.36 * second, 5)
    assert torch.allclose(weight.detach(), expected, atol=1e-5)


def test_weights_without_gradient_stay() -> None:
    moved, still = (nn.Parameter(random(3, 4)) for _ in range(2))
    moved.grad = random(3, 4, seed=1)
    Muon([{"params": [moved, still]}], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, random(3, 4))
    assert not torch.equal(moved, still)


def test_groups_have_settings_of_their_own() -> None:
    slow, fast = (nn.Parameter(torch.zeros(3, 4)) for _ in range(2))
    for weight in (slow, fast):
        weight.grad = random(3, 4)
    Muon([{"params": [slow], "lr": 0.01}, {"params": [fast]}], lr=1.0).step()
    assert torch.allclose(100 * slow, fast)


# --- learning


def test_it_solves_least_squares() -> None:
    inputs, wanted = random(64, 12), random(12, 6, seed=1)
    weight = nn.Parameter(torch.zeros(12, 6))
    muon = Muon([{"params": [weight]}], lr=0.1, momentum=0.9)
    losses = []
    for step in range(80):
        muon.param_groups[0]["lr"] = 0.1 * (1 - step / 80)
        loss = (inputs @ (weight - wanted)).square().mean()
        weight.grad = torch.autograd.grad(loss, weight)[0]
        muon.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-3 * losses[0]


def test_a_recipes_muon_takes_the_inner_matrices_and_adamw_all_else() -> None:
    network = nn.ModuleDict(
        {
            "stem": nn.Conv2d(2, 3, 3),
            "inner": nn.Conv2d(3, 3, 3),
            "norm": nn.BatchNorm2d(3),
            "head": nn.Linear(3, 2),
        }
    )
    settings = OptimiserConfig(kind="muon", learning_rate=0.5, muon_learning_rate=0.25, weight_decay=0.125)
    muon, adamw = build_optimisers(settings, network)
    names = {weight: name for name, weight in network.named_parameters()}
    assert [names[weight] for group in muon.param_groups for weight in group["params"]] == ["inner.weight"]
    others = {names[weight] for group in adamw.param_groups for weight in group["params"]}
    assert others == set(names.values()) - {"inner.weight"}
    assert (muon.param_groups[0]["peak_lr"], adamw.param_groups[0]["peak_lr"]) == (0.25, 0.5)
    assert muon.param_groups[0]["weight_decay"] == adamw.param_groups[0]["weight_decay"] == 0.125


def fit(optimiser: Callable[[torch.nn.Module], torch.optim.Optimizer], n_steps: int) -> list[float]:
    """Losses of a small network on one fixed batch, before each step and after the last."""
    torch.manual_seed(0)
    network, targets = build_network(DRNNConfig(hidden_size=16, n_layers=2), 9), torch.rand(3, 2, 9, 12)
    stepper = optimiser(network)

    def closure() -> torch.Tensor:
        stepper.zero_grad()
        loss = discriminative_loss(LossConfig(), targets, network(targets.sum(1)))
        loss.backward()
        return loss

    losses = [float(stepper.step(closure).detach()) for _ in range(n_steps)]
    return [*losses, float(closure().detach())]


@pytest.mark.slow
def test_30_iterations_of_lbfgs_beat_100_of_gradient_descent_at_its_best_rate() -> None:
    settings = OptimiserConfig(kind="lbfgs", iterations=1, corrections=50)
    rates = [0.03, 0.056, 0.1, 0.18, 0.32]
    reached = [fit(lambda network, r=r: torch.optim.SGD(network.parameters(), r), 100)[-1] for r in rates]
    assert 0 < reached.index(min(reached)) < len(rates) - 1
    assert fit(lambda network: build_optimisers(settings, network)[0], 30)[-1] < min(reached) - 0.01


# --- schedule and moving average


def test_the_learning_rate_warms_up_and_decays_to_1_percent() -> None:
    config = Config()
    n_warm_up, n_steps = config.optimiser.warm_up_steps, config.run.n_steps
    assert learning_rate_fraction(config, 0) == pytest.approx(1 / n_warm_up)
    assert learning_rate_fraction(config, n_warm_up) == pytest.approx(1, abs=0.01)
    assert learning_rate_fraction(config, n_steps) == pytest.approx(0.01)
    assert learning_rate_fraction(Config(optimiser=OptimiserConfig(kind="lbfgs")), 5) == 1


def test_the_moving_average_has_a_smaller_decay_in_the_first_steps() -> None:
    """Of what was held 1, 2/11, 3/12 of it stays, then the decay."""
    network = torch.nn.Linear(1, 1, bias=False)
    averaged, found = build_average(network, 0.3), []
    for value in (1.0, 2.0, 4.0, 8.0, 16.0):
        torch.nn.init.constant_(network.weight, value)
        averaged.update_parameters(network)
        found.append(float(averaged.module.weight.detach()))
    expected = [1.0]
    for value, stays in ((2, 2 / 11), (4, 3 / 12), (8, 0.3), (16, 0.3)):
        expected.append(value + (expected[-1] - value) * stays)
    assert found == pytest.approx(expected)
    assert build_average(network, 0.0) is None
