"""A trained network to a model file: the ONNX graph, its weights in few bits, its metadata."""

import itertools
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from duetto.errors import ModelError
from duetto.models.onnx_model import METADATA_KEY, OnnxModel, probe_input, to_planes
from duetto.training.checkpoint import BEST, CONFIG, SUMMARY, load_weights, write_whole
from duetto.training.config import Config
from duetto.training.config_io import read_config, read_json
from duetto.training.networks import Network, Stateful, build_network
from duetto.training.torch_model import TorchModel

OPSET = 17
PARITY = 1e-4  # of the masks, root mean square over the bins of each frame
PARITY_FRAMES = (1, 2, 37, 101)
FEW = 256  # weights of a tensor that are stored as they are, as biases are: they hardly count

Bits = Literal[4, 5, 6, 7, 8, 16, 32]
"""4 to 7 lie in bytes as 8 do; with fewer values these are shorter in an archive, as a wheel is."""


def export(
    config: Config,
    weights: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    bits: Bits = 16,
    metrics: Mapping[str, Any] | None = None,
) -> OnnxModel:
    """Write a model file and prove that it gives what the network gives.

    Args:
        config: the experiment that trained the weights.
        weights: its safetensors file.
        target: the .onnx file; it appears when it is complete and proven.
        bits: of a stored weight, 4 to 8, 16 or 32; they are computed with at 32 bits.
        metrics: scores with the protocol that gave them.

    Returns:
        The model, open.

    Raises:
        ConfigError: the target cannot be written.
        ModelError: weights that cannot be read, or a graph whose masks differ from the network's by more than
            1e-4 (root mean square over the bins of any frame).
    """
    target = Path(target)
    network = build_network(config.network, config.stft.build(centred=True).n_bins)
    load_weights(Path(weights), network)
    network.eval()
    _fold_norms(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(_rounded(parameter, bits))
    model = TorchModel(config, network, metrics)
    graph = _trace(model)
    _shorten(graph, bits)
    helper.set_model_props(graph, {METADATA_KEY: model.metadata.to_json()})
    content = graph.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        proof = Path(folder) / target.name
        proof.write_bytes(content)
        _prove(OnnxModel(proof), model)
    write_whole(target, content)
    return OnnxModel(target)


def export_run(
    run: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    bits: Bits = 16,
    metrics: str | os.PathLike[str] | None = None,
) -> OnnxModel:
    """Export the best weights of a training run; a summary of it goes into the model's metrics.

    Args:
        run: its folder.
        target: the .onnx file; by default NAME.onnx in that folder.
        bits: as for `export`.
        metrics: path of the scores.json that an evaluation wrote.

    Raises:
        ConfigError: not the folder of a run, or no scores in `metrics`.
        ModelError: as for `export`.
    """
    run = Path(run)
    config = read_config(run / CONFIG)
    card = read_json(Path(metrics), "give the scores.json of duetto evaluate") if metrics else {}
    if (run / SUMMARY).exists():
        summary = read_json(run / SUMMARY, "train again")
        card["training"] = {key: value for key, value in summary.items() if key != "config"}
    return export(config, run / BEST, target or run / f"{config.name}.onnx", bits=bits, metrics=card)


class _Graph(nn.Module):
    """A network as the graph of a model file."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if isinstance(self.network, Stateful):
            is_last, *state = inputs
            masks, after = self.network.step(x, state, is_last)
            return masks, *after
        return self.network.masks(x)


def _fold_norms(network: nn.Module) -> None:
    """Make every batch normalisation that follows a convolution part of it."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            layer, norm = sequence[index], sequence[index + 1]
            if isinstance(norm, nn.BatchNorm2d):
                assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
                folded = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
                sequence[index], sequence[index + 1] = folded, nn.Identity()


def _trace(model: TorchModel) -> onnx.ModelProto:
    kind, probe = str(model.metadata.input), probe_input(model.metadata, 50)
    planes = to_planes(probe) if np.iscomplexobj(probe) else probe
    example, outputs = {kind: torch.from_numpy(planes)}, ["masks"]
    axes = {kind: {0: "batch_size", planes.ndim - 2: "n_frames"}, "masks": {0: "batch_size", 2: "n_masks"}}
    if isinstance(model.network, Stateful):
        example["is_last"] = torch.tensor(1)
        for index, values in enumerate(model.network.empty_state(1)):
            for name in (f"state.{index}", f"next_state.{index}"):
                axes[name] = {0: "batch_size"}
                axes[name] |= {axis: f"n_{name}" for axis, size in enumerate(values.shape) if size == 0}
            example[f"state.{index}"] = values
            outputs.append(f"next_state.{index}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # the exporter announces its successor, which does not yet know recurrent layers of any length,
        # and doubts batches of several, which the parity check below tries
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            _Graph(model.network).eval(),  # the exporter leaves the mode that it finds
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def _rounded(weight: Tensor, bits: Bits) -> Tensor:
    """A weight as it will be when it is read again; up to 8 bits count in steps of each row's largest."""
    if bits == 32 or not _is_large(tuple(weight.shape)):
        return weight
    if bits == 16:
        return weight.half().float()
    steps = _steps(weight.numpy(), 0, bits)
    return torch.from_numpy(np.round(weight.numpy() / steps) * steps)


def _steps(values: NDArray[np.float32], axis: int, bits: Bits) -> NDArray[np.float32]:
    """The step of each row along an axis, shaped to fit the values; the largest has the largest integer."""
    others = tuple(other for other in range(values.ndim) if other != axis)
    largest = np.abs(values).max(others, keepdims=True)
    return np.asarray(np.where(largest > 0, largest, 1) / np.float32(2 ** (bits - 1) - 1))


def _is_large(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape) > 1 and math.prod(shape) >= FEW


def _shorten(model: onnx.ModelProto, bits: Bits) -> None:
    """Keep every large weight in so many bits and bring it back when the file is loaded."""
    graph, nodes = model.graph, []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if bits == 32 or tensor.data_type != TensorProto.FLOAT or not _is_large(values.shape):
            continue
        name, stored = tensor.name, f"{tensor.name}.{bits}"
        if bits == 16:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
            nodes.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
            continue
        integers, steps = _in_steps(values, bits)
        tensor.CopyFrom(numpy_helper.from_array(integers, stored))
        graph.initializer.append(numpy_helper.from_array(steps, f"{name}.unit"))
        nodes.append(helper.make_node("Cast", [stored], [f"{name}.units"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.units", f"{name}.unit"], [name]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _in_steps(values: NDArray[np.float32], bits: Bits) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The integers of a rounded weight and its steps; a graph keeps some weights with other axes first."""
    for axis in range(values.ndim):
        steps = _steps(values, axis, bits)
        integers = np.round(values / steps)
        if np.allclose(integers * steps, values, rtol=1e-4, atol=0):
            return integers.astype(np.int8), steps
    raise ModelError("the exporter changed the rounded weights; report this with the version of torch")


def _prove(exported: OnnxModel, model: TorchModel) -> None:
    """Compare the graph with the network.

    The largest difference of single bins says nothing: where both activations nearly vanish their ratio is
    rounding, and PyTorch at 32 bits differs from itself at 64 bits as much. Over the bins of a frame they
    weigh little, while a wrong graph is wrong by far more, be it in one frame alone.
    """
    exported.verify()
    metadata = exported.metadata
    in_chunks = metadata.first_frames + 5 * metadata.frame_grid + 1
    for n_frames in (*PARITY_FRAMES, *([in_chunks] if metadata.is_stateful else [])):
        one = probe_input(metadata, n_frames)
        batch = np.concatenate([one, 0.1 * one[..., ::-1, :]])
        answers = [exported.masks(batch)]
        if metadata.is_stateful:
            answers.append(_masks_in_chunks(exported, batch))
        differences = np.stack(answers) - model.masks(batch)
        worst = float(np.sqrt((np.abs(differences) ** 2).mean(axis=-1)).max())
        if not worst <= PARITY:
            raise ModelError(
                f"{exported.path.name}: the exported graph differs from the network by {worst:.1e} on "
                f"{n_frames} frames, allowed are {PARITY:.0e}; report this with the version of torch"
            )


def _masks_in_chunks(model: OnnxModel, x: NDArray[Any]) -> NDArray[Any]:
    """The masks of chunks of which the first is as short as it may be, and the others are."""
    metadata, n_frames = model.metadata, x.shape[-2]
    starts = [0, *range(metadata.first_frames, n_frames, 2 * metadata.frame_grid)]
    parts, state = [], None
    for start, stop in itertools.pairwise([*starts, n_frames]):
        masks, state = model.step(x[..., start:stop, :], state, is_last=stop == n_frames)
        parts.append(masks)
    return np.concatenate(parts, axis=-2)
