"""The vector product network: units and weights are vectors of three, and weights act by the cross product.

Fan, Chan, Yang and Jang, "Music signal processing using vector product neural networks", Workshop on Deep
Learning and Music at IJCNN 2017; Nitta, "A backpropagation algorithm for neural networks based on 3D vector
product", IJCNN 1993.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duetto.training.config import VPNNConfig
from duetto.training.networks.layers import (
    MagnitudeNetwork,
    neighbours,
    next_frames,
    repeat_edges,
    soft_masks,
)

DARK = 0.0938
"""Where the first two components of a spectral colour are full (the papers' n)."""


class VectorProductLinear(nn.Module):
    """z_i = sum_j w_ij x a_j + b_i on vectors of three; six matrix products.

    Written out by components it is quicker than one batched or one block product (measured on a CPU).
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, n_outputs, n_inputs))
        self.bias = nn.Parameter(torch.zeros(3, n_outputs))
        # Glorot's bounds: each component of an output sums two products per input
        bound = (6 / (2 * n_inputs + 2 * n_outputs)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (3, ..., n_inputs) to vectors (3, ..., n_outputs)."""
        (p, q, r), (x, y, z) = self.weight, vectors
        products = torch.stack(
            [
                F.linear(z, q) - F.linear(y, r),
                F.linear(x, r) - F.linear(z, p),
                F.linear(y, p) - F.linear(x, q),
            ]
        )
        shape = (3, *(1,) * (products.ndim - 2), -1)
        return products + self.bias.reshape(shape)

    def read(self, vectors: Tensor, direction: Tensor) -> Tensor:
        """Vectors (3, ..., n_inputs) to the outputs' components in a direction (3,), (..., n_outputs).

        As v . (w x a) = (v x w) . a, one matrix product on all components does.
        """
        (p, q, r), (x, y, z) = self.weight, direction
        weights = [y * r - z * q, z * p - x * r, x * q - y * p]
        return F.linear(torch.cat(tuple(vectors), dim=-1), torch.cat(weights, dim=-1), direction @ self.bias)


class VPNN(MagnitudeNetwork):
    """Layers of vectors, a linear read-out and the mask layer.

    A_l = f(W_l x A_{l-1} + B_l), f on each component; the output's vectors are read as one number a_i for
    each source and bin, and y_i = |a_i| / (|a_1| + |a_2|) |X|.
    """

    config: VPNNConfig
    direction: Tensor

    def __init__(self, config: VPNNConfig, n_bins: int) -> None:
        super().__init__()
        self.config = config
        self.n_bins = n_bins
        sizes = [n_bins] + [config.hidden_size] * config.n_layers
        self.layers = nn.ModuleList(map(VectorProductLinear, sizes, sizes[1:]))
        self.output = VectorProductLinear(sizes[-1], 2 * n_bins)
        direction = COLOUR_DIRECTION if config.vectors == "colour" else MIDDLE_DIRECTION
        self.register_buffer("direction", torch.tensor(direction), persistent=False)

    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first chunk: no frames."""
        return [torch.zeros(batch_size, 0, self.n_bins)]

    def activations(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to what is read, (batch_size, 2, n_bins, n_frames)."""
        n_side = self.config.look_ahead
        return self._run(repeat_edges(magnitude.transpose(1, 2), n_side, n_side)).transpose(2, 3)

    def step(self, x: Tensor, state: Sequence[Tensor], is_last: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `MagnitudeNetwork`."""
        (held,) = state
        frames, held = next_frames(x, held, self.config.look_ahead, is_last)
        return soft_masks(self._run(frames)), [held]

    def _run(self, frames: Tensor) -> Tensor:
        """Frames with those around them to what is read, (batch_size, 2, n_frames, n_bins)."""
        if self.config.vectors == "colour":
            hidden = colours(frames / self.config.brightest)
        else:
            hidden = torch.stack(neighbours(frames, 1))
        for layer in self.layers:
            hidden = getattr(torch, self.config.activation)(layer(hidden))
        read = self.output.read(hidden, self.direction)
        return torch.unflatten(read, 2, (2, self.n_bins)).transpose(1, 2)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitude (batch_size, n_bins, n_frames) to estimates (batch_size, 2, n_bins, n_frames)."""
        return soft_masks(self.activations(magnitude)) * magnitude.unsqueeze(1)


MIDDLE_DIRECTION = (0.0, 1.0, 0.0)
COLOUR_DIRECTION = (DARK, DARK, 1 - 2 * DARK)


def colours(x: Tensor) -> Tensor:
    """Numbers (...) in [0, 1] to spectral colours (3, ...), each component in [0, 1].

    The first component rises to 1 at x = n, the second at 2 n, the third at 1 (n = 0.0938).
    """
    parts = [x / DARK, (x - DARK) / DARK, (x - 2 * DARK) / (1 - 2 * DARK)]
    return torch.stack(parts).clamp(0, 1)


def brightness(colour: Tensor) -> Tensor:
    """Spectral colours (3, ...) back to numbers (...): n r + n g + (1 - 2 n) b."""
    return torch.tensordot(colour.new_tensor(COLOUR_DIRECTION), colour, dims=1)
