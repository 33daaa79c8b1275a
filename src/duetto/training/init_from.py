"""Initialise a network from other weights: those of another run, or of the model file of a U-Net.

In a model file the batch normalisations are folded into the convolutions before them, which leaves weights
that are often far smaller than training makes them. Such a network is right, but the first steps undo what it
has learned, since those of Muon have one size. So the normalisations are unfolded again, with statistics that
are measured on mixtures, and the weights are scaled to the size that training leaves.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import cast

import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from duetto.errors import ModelError
from duetto.models.onnx_model import OnnxModel

MODEL_SUFFIX = ".onnx"

USUAL_SIZE = 2.3
"""Root mean square of the singular values of a convolution that Muon has trained with `duetto`'s recipe."""


def initialise_from(path: Path, network: nn.Module) -> None:
    """Load the weights of another network, which may be smaller: they become the leading part of each weight.

    What the other network lacks keeps its random weights, but has no influence on the rest at first. The
    normalisations of a model file are to be unfolded afterwards by `unfold_norms`.

    Raises:
        ModelError: a missing or damaged file, or weights of a larger network.
    """
    transposed = {
        f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)
    }
    try:
        held = model_weights(path, network) if path.suffix == MODEL_SUFFIX else load_file(path)
        own = network.state_dict()
        for name in held.keys() & own.keys():
            weight = own[name].clone()
            if weight.ndim > 1:
                weight.narrow(int(name in transposed), 0, held[name].shape[name in transposed]).zero_()
            weight[tuple(map(slice, held[name].shape))] = held[name]
            own[name] = weight
        network.load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError, IndexError) as error:
        raise ModelError(f"{path}: cannot take these initial weights ({error}); see run.init_from") from error


def model_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read the weights of a U-Net's model file by their names in a network, which may be larger.

    A folded normalisation becomes one that adds the bias and changes nothing else.

    Raises:
        ModelError: a missing or damaged file, or the model of another kind of network.
    """
    if OnnxModel(path).metadata.input != "spectrogram":
        raise ModelError(f"{path}: not a U-Net; training can be initialised from the model file of a U-Net")
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


def unfold_norms(network: nn.Module, run_mixtures: Callable[[nn.Module], None]) -> None:
    """Measure the batch normalisations and scale the convolutions before them to `USUAL_SIZE`.

    The output of the network stays the same.

    Args:
        network: with the weights of a model file.
        run_mixtures: runs a network on the training mixtures on which the statistics are to be measured.
    """
    moments: dict[nn.BatchNorm2d, list[Tensor]] = {
        module: [] for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    }

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0].double()
        both = torch.stack([maps.mean((0, 2, 3)), maps.square().mean((0, 2, 3))])
        moments[cast(nn.BatchNorm2d, norm)].append(both)

    hooks = [norm.register_forward_pre_hook(measure) for norm in moments]
    network.eval()
    with torch.no_grad():
        run_mixtures(network)
        for hook in hooks:
            hook.remove()
        factors = _scale_convolutions(network)
        for norm, measured in moments.items():
            mean, power = torch.stack(measured).mean(0)
            _set_statistics(norm, mean.float(), (power - mean**2).float(), factors.get(norm, 1.0))


def _scale_convolutions(network: nn.Module) -> dict[nn.BatchNorm2d, float]:
    """Scale every convolution before a normalisation; returns the factors by normalisation."""
    factors = {}
    for sequence in network.modules():
        for layer, norm in pairwise(sequence) if isinstance(sequence, nn.Sequential) else ():
            if isinstance(norm, nn.BatchNorm2d):
                weight = cast(nn.Conv2d | nn.ConvTranspose2d, layer).weight
                matrix = weight.flatten(1)
                factors[norm] = float(USUAL_SIZE * min(matrix.shape) ** 0.5 / matrix.norm())
                weight *= factors[norm]
    return factors


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, factor: float) -> None:
    """Give a norm these statistics of its inputs before they are scaled by `factor`; its output stays."""
    held_mean, held_variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    before = (held_variance + norm.eps).sqrt()
    norm.bias.add_(norm.weight * (mean - held_mean) / before)
    held_mean.copy_(factor * mean)
    held_variance.copy_(factor**2 * variance)
    norm.weight.mul_((held_variance + norm.eps).sqrt() / (factor * before))
