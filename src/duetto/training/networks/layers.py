"""What the networks of magnitudes have in common: chunks, neighbouring frames and the mask layer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from duetto.training.config import DRNNConfig, VPNNConfig

EPSILON = 1e-10


class MagnitudeNetwork(nn.Module, ABC):
    """A network that takes the magnitude of a sequence in chunks and gives two masks."""

    config: DRNNConfig | VPNNConfig

    @property
    def first_frames(self) -> int:
        """Frames of the first chunk, at least; then it gives a mask."""
        return self.config.look_ahead + 1

    @abstractmethod
    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first chunk."""

    @abstractmethod
    def step(self, x: Tensor, state: Sequence[Tensor], is_last: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next masks of a sequence in chunks; see `Stateful`.

        Args:
            x: magnitude (batch_size, n_frames, n_bins).
            state: what the chunk before left, at first `empty_state`.
            is_last: 1 for the last chunk, else 0, an integer without dimensions.

        Returns:
            Masks (batch_size, 2, any n_frames, n_bins) and the state after them.
        """

    def masks(self, x: Tensor) -> Tensor:
        """Magnitude (batch_size, n_frames, n_bins) to masks in [0, 1], (batch_size, 2, n_frames, n_bins)."""
        state = [values.to(x) for values in self.empty_state(len(x))]
        return self.step(x, state, torch.tensor(1, device=x.device))[0]


def repeat_edges(frames: Tensor, n_before: int, n_after: int) -> Tensor:
    """Frames (batch_size, n_frames, n_bins) with copies of the first before and of the last behind them."""
    index = torch.arange(-n_before, frames.shape[1] + n_after, device=frames.device)
    last = torch.as_tensor(frames.shape[1] - 1, device=frames.device)
    return frames.index_select(1, index.clamp(min=0).minimum(last))


def next_frames(chunk: Tensor, held: Tensor, n_side: int, is_last: Tensor) -> tuple[Tensor, Tensor]:
    """The next chunk of a sequence with the frames around it that a network takes in.

    Beyond the ends of the sequence its edge frames are repeated.

    Args:
        chunk: (batch_size, n_frames, n_bins), the first of more than `n_side` frames.
        held: the second value that the chunk before gave, at the start (batch_size, 0, n_bins).
        n_side: frames before and after each frame that the network takes in.
        is_last: 1 for the last chunk, else 0.

    Returns:
        `n_side` frames, those whose turn it is, and `n_side` more; and the frames that the next chunk needs.
    """
    n_before = n_side - held.shape[1] // 2  # none is held at first, later 2 n_side
    n_after = cast(int, n_side * is_last)  # a tensor, of which the exporter makes part of the graph
    frames = repeat_edges(torch.cat([held, chunk], 1), n_before, n_after)
    return frames, frames[:, frames.shape[1] - 2 * n_side :]


def neighbours(frames: Tensor, n_side: int) -> list[Tensor]:
    """What is around each frame: the first, ..., the last of every `2 n_side + 1` frames in a row.

    Frames (batch_size, n, n_bins) to tensors (batch_size, n - 2 n_side, n_bins), of which the middle one
    holds the frames themselves.
    """
    n_inside = frames.shape[1] - 2 * n_side
    return [frames[:, k : k + n_inside] for k in range(2 * n_side + 1)]


def soft_masks(
    activations: Tensor, kind: Literal["absolute", "squared", "linear", "none"] = "absolute"
) -> Tensor:
    """The masks of two sources, (batch_size, 2, ...), from activations of the same shape.

    |a_i| / (|a_1| + |a_2|) of Huang et al. 2014, equation 7, or with squares or with the bare a_i, as in the
    authors' released code. They sum to 1.
    """
    match kind:
        case "squared":
            powers = activations.square()
        case "linear":
            powers = activations
        case _:
            powers = activations.abs()
    return powers / (powers.sum(1, keepdim=True) + EPSILON)
