"""A 3 x 3 convolution that learns faster on a CPU.

oneDNN's gradient of the weights is the slowest of its three products on AVX2; as nine matrix products over
shifted views it is mostly faster (`python benchmarks/convolution.py`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution(nn.Conv2d):
    """A `torch.nn.Conv2d` of 3 x 3, stride 1, padding 1 and without bias."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__(n_inputs, n_outputs, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (batch_size, n_inputs, height, width) to (batch_size, n_outputs, height, width)."""
        # under autocast maps, weights and gradients differ in precision, which PyTorch knows how to join
        if self.training and maps.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return _FastGradient.apply(maps, self.weight)  # type: ignore[no-untyped-call]
        return super().forward(maps)


class _FastGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(maps, weight)
        return F.conv2d(maps, weight, padding=1)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        maps, weight = context.saved_tensors
        backwards = None
        if context.needs_input_grad[0]:
            backwards = torch.ops.aten.convolution_backward(
                gradient, maps, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
            )[0]
        return backwards, _weight_gradient(maps, gradient)


def _weight_gradient(maps: Tensor, gradient: Tensor) -> Tensor:
    """Sum over all places of gradient times input, for each of the nine shifts of one against the other.

    In maps with a border of zeros, rows laid end to end, every shift is one distance.
    """
    width = maps.shape[3] + 2
    seen, wanted = (
        F.pad(tensor.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, tensor.shape[1])
        for tensor in (maps, gradient)
    )
    first, last = width + 1, len(wanted) - width - 1
    inner = wanted[first:last].T
    shifts = [row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
    taps = [inner @ seen[first + shift : last + shift] for shift in shifts]
    return torch.stack(taps, dim=-1).reshape(*taps[0].shape, 3, 3)
