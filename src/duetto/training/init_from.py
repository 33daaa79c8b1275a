"""The weights of a bundle as a network in training needs them.

A bundle's batch normalisations are part of the convolutions before them, which leaves weights that are often
far smaller than training makes them: what such a network gives is right, but the first steps forget it, for
Muon's have one size. So the norms are taken out again, measured on mixtures, and the weights made as large
as training leaves them.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import cast

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from duetto.errors import ModelError
from duetto.models.onnx_model import Bundle

USUAL_SIZE = 2.3
"""Root mean square of the singular values of a convolution that Muon has trained with `duetto`'s recipe."""


def bundled_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The weights of the U-Net of a bundle by their names in a network, which may be larger.

    A normalisation that is part of the convolution before it changes nothing but adds the bias.

    Raises:
        ModelError: no bundle that can be read, or that of another kind of network.
    """
    if Bundle(path).metadata.input != "spectrogram":
        raise ModelError(f"{path}: no U-Net; training can begin with the bundle of a U-Net alone")
    graph = onnx.load(path).graph
    held = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    units = {name.removesuffix(".unit"): held.pop(name) for name in list(held) if name.endswith(".unit")}
    transposed = {
        node.input[1]: ".".join([*node.name.split("/")[-3:-1], "weight"])
        for node in graph.node
        if node.op_type == "MatMul"
    }
    weights: dict[str, Tensor] = {}
    own = network.state_dict()
    for stored, values in held.items():
        short, _, bits = stored.rpartition(".")
        full = short if bits.isdecimal() else stored
        weight = values.float() * units.get(full, 1)
        if full in transposed:
            weights[transposed[full]] = weight.T.contiguous()
        elif (name := full.removeprefix("network.")) in own:
            weights[name] = weight
        elif name.endswith(".0.bias"):
            norm = name.removesuffix("0.bias") + "1."
            weights |= {
                f"{norm}weight": torch.ones_like(weight),
                f"{norm}bias": weight,
                f"{norm}running_mean": torch.zeros_like(weight),
                f"{norm}running_var": torch.ones_like(weight) - nn.BatchNorm2d(1).eps,
            }
    return weights


def take_norms_apart(network: nn.Module, hear: Callable[[nn.Module], None]) -> None:
    """Measure every batch normalisation and bring the convolutions before them to their usual size.

    What the network gives stays the same.

    Args:
        network: with weights of `bundled_weights`.
        hear: lets a network hear as many training mixtures as its norms are to be measured on.
    """
    seen: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0].double()
        moments = torch.stack([maps.mean((0, 2, 3)), maps.square().mean((0, 2, 3))])
        seen[cast(nn.BatchNorm2d, norm)].append(moments)

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            seen[module] = []
            hooks.append(module.register_forward_pre_hook(measure))
    network.eval()
    with torch.no_grad():
        hear(network)
        for hook in hooks:
            hook.remove()
        factors = {}
        for convolution, norm in _normalised(network):
            matrix = convolution.weight.flatten(1)
            factors[norm] = float(USUAL_SIZE * min(matrix.shape) ** 0.5 / matrix.norm())
            convolution.weight *= factors[norm]
        for norm, moments in seen.items():
            mean, power = torch.stack(moments).mean(0)
            _restate(norm, mean.float(), (power - mean**2).float(), factors.get(norm, 1.0))


def _restate(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, factor: float) -> None:
    """Let a norm do to inputs of these statistics, times a factor, what it did to them as they are."""
    held_mean, held_variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    before = (held_variance + norm.eps).sqrt()
    norm.bias.add_(norm.weight * (mean - held_mean) / before)
    held_mean.copy_(factor * mean)
    held_variance.copy_(factor**2 * variance)
    norm.weight.mul_((held_variance + norm.eps).sqrt() / (factor * before))


def _normalised(network: nn.Module) -> Iterator[tuple[nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d]]:
    for sequence in network.modules():
        if isinstance(sequence, nn.Sequential):
            for layer, norm in pairwise(sequence):
                if isinstance(norm, nn.BatchNorm2d):
                    yield cast(nn.Conv2d | nn.ConvTranspose2d, layer), norm
