"""Optimisers of a recipe, the learning rate schedule, and the moving average of the weights."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from duetto.training.config import Config, OptimiserConfig

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration


def build_optimisers(settings: OptimiserConfig, network: nn.Module) -> list[Optimizer]:
    """Build the optimisers of a recipe; L-BFGS has a strong-Wolfe line search as in the authors' code.

    The groups of weights hold their peak learning rate as "peak_lr".
    """
    decay, rate = settings.weight_decay, settings.learning_rate
    if settings.kind == "lbfgs":
        return [
            LBFGS(
                [{"params": list(network.parameters()), "peak_lr": 1.0}],
                max_iter=settings.iterations,
                history_size=settings.corrections,
                line_search_fn="strong_wolfe",
            )
        ]
    if settings.kind == "adamw":
        group = {"params": list(network.parameters()), "peak_lr": rate}
        return [AdamW([group], lr=rate, weight_decay=decay)]
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        is_hidden = weight.ndim > 1 and not name.startswith(("stem", "head"))
        (hidden if is_hidden else others).append(weight)
    peak = settings.muon_learning_rate
    return [
        Muon([{"params": hidden, "peak_lr": peak}], lr=peak, weight_decay=decay),
        AdamW([{"params": others, "peak_lr": rate}], lr=rate, weight_decay=decay),
    ]


def set_learning_rates(optimisers: Iterable[Optimizer], config: Config, step: int) -> None:
    """Set every group's learning rate for a step."""
    fraction = learning_rate_fraction(config, step)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * fraction


def learning_rate_fraction(config: Config, step: int) -> float:
    """Learning rate of a step relative to its peak: linear warm-up and cosine decay; always 1 for L-BFGS."""
    settings = config.optimiser
    if settings.kind == "lbfgs":
        return 1.0
    warm_up = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    cosine = 0.505 + 0.495 * math.cos(math.pi * step / config.run.n_steps)
    return warm_up * cosine


def build_average(network: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average of the weights whose decay grows to `decay` over the first steps."""
    if not decay:
        return None

    def average(held: Tensor, new: Tensor, n_averaged: Tensor | int) -> Tensor:
        return held + (new - held) * (1 - min(decay, (1 + float(n_averaged)) / (10 + float(n_averaged))))

    return AveragedModel(network, avg_fn=average, use_buffers=True)


class Muon(Optimizer):
    """Momentum with orthogonalised updates (Jordan et al., "Muon: an optimizer for hidden layers", 2024).

    For weights of two or more axes; all axes but the first count as one. torch.optim.Muon takes matrices
    alone and iterates in bfloat16, which takes seconds a step on CPUs without hardware support.

    Args:
        groups: of weights, with their own settings where they differ.
        lr: size of a step, relative to a matrix of orthogonal rows.
        momentum: decay of the running mean of the gradients.
        n_iterations: number of Newton-Schulz iterations.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        n_iterations: int = 5,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "n_iterations": n_iterations
        }  # fmt: skip
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                running = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                running.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonalised(weight.grad.lerp(running, group["momentum"]), group["n_iterations"])
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        return loss


def orthogonalised(update: Tensor, n_iterations: int) -> Tensor:
    """Approximate the nearest matrix of orthonormal rows or columns: singular values of 0.7 to 1.2.

    It is scaled by the root of rows per column where there are more rows, so that the outputs of all layers
    change alike.
    """
    matrix = update.flatten(1)
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    matrix = matrix / (matrix.norm() + 1e-7)
    # each iteration multiplies by a polynomial of the Gram matrix, which is far smaller
    gram, product = matrix @ matrix.T, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    first, third, fifth = MUON_COEFFICIENTS
    for _ in range(n_iterations):
        step = torch.addmm(third * gram, gram, gram, alpha=fifth)
        step.diagonal().add_(first)
        product, gram = step @ product, step @ gram @ step
    matrix = product @ matrix
    if tall:
        matrix = matrix.T * (matrix.shape[1] / matrix.shape[0]) ** 0.5
    return matrix.reshape(update.shape)
