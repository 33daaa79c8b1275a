"""Muon: momentum whose update is made orthogonal, matrix by matrix.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. torch.optim.Muon is its like
for matrices alone and iterates in bfloat16, which takes seconds a step on CPUs without such units.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the paper's quintic iteration


class Muon(Optimizer):
    """For weights of two or more axes; all axes but the first count as one.

    Args:
        groups: of weights, each with its own settings where they differ.
        lr: size of a step, relative to a matrix of orthogonal rows.
        momentum: share of the running gradient that stays in a step.
        n_iterations: of Newton and Schulz.
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
                update = orthogonal(weight.grad.lerp(running, group["momentum"]), group["n_iterations"])
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        return loss


def orthogonal(update: Tensor, n_iterations: int) -> Tensor:
    """The nearest matrix of orthonormal rows or columns, roughly: singular values of 0.7 to 1.2.

    Times the root of rows per column where there are more rows, so that every layer's output changes alike.
    """
    matrix = update.flatten(1)
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    matrix = matrix / (matrix.norm() + 1e-7)
    # every step multiplies by a polynomial of the Gram matrix, which is far smaller
    gram, product = matrix @ matrix.T, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    first, third, fifth = COEFFICIENTS
    for _ in range(n_iterations):
        step = torch.addmm(third * gram, gram, gram, alpha=fifth)
        step.diagonal().add_(first)
        product, gram = step @ product, step @ gram @ step
    matrix = product @ matrix
    if tall:
        matrix = matrix.T * (matrix.shape[1] / matrix.shape[0]) ** 0.5
    return matrix.reshape(update.shape)
