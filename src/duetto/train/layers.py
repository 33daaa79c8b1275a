"""What the networks share: neighbouring frames and the mask layer."""

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-10


def neighbours(magnitude: Tensor, n_frames: int) -> list[Tensor]:
    """Magnitude (..., any number of frames) as seen from each frame's neighbours, from the earliest.

    `n_frames` is odd; the middle one is the magnitude itself. At the edges the edge frame is repeated.
    """
    n_side = n_frames // 2
    padded = torch.cat([magnitude[..., :1]] * n_side + [magnitude] + [magnitude[..., -1:]] * n_side, dim=-1)
    return [padded[..., k : k + magnitude.shape[-1]] for k in range(n_frames)]


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
