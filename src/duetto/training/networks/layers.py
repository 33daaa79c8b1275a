"""What the networks share: neighbouring frames and the mask layer."""

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-10


def repeat_edges(magnitude: Tensor, n_side: int) -> Tensor:
    """Magnitude (..., n_frames) with `n_side` copies of the edge frames beyond both edges."""
    return torch.cat([magnitude[..., :1]] * n_side + [magnitude] + [magnitude[..., -1:]] * n_side, dim=-1)


def neighbours(padded: Tensor, n_frames: int) -> list[Tensor]:
    """What each frame has around it: the first, ..., the last of every `n_frames` frames in a row.

    Padded (..., n) to `n_frames` (odd) tensors (..., n - n_frames + 1), of which the middle one holds the
    frames themselves.
    """
    n_inside = padded.shape[-1] - n_frames + 1
    return [padded[..., k : k + n_inside] for k in range(n_frames)]


def ratio_masks(
    activations: Tensor, kind: Literal["absolute", "squared", "linear", "none"] = "absolute"
) -> Tensor:
    """The share of each of two sources, (batch_size, 2, n_bins, n_frames).

    |a_i| / (|a_1| + |a_2|) of Huang et al. 2014, equation 7, or with squares or with the bare a_i, as in the
    authors' released code. They sum to 1.
    """
    match kind:
        case "squared":
            shares = activations.square()
        case "linear":
            shares = activations
        case _:
            shares = activations.abs()
    return shares / (shares.sum(1, keepdim=True) + EPSILON)
