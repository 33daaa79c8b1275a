"""A trained network -> a bundle: the ONNX graph, its weights in few bits, its metadata."""

import itertools
import json
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

from duetto.errors import ConfigError, ModelError
from duetto.models.onnx_model import METADATA_KEY, Bundle, to_planes
from duetto.training.checkpoint import BEST, CONFIG, SUMMARY, load_weights, write_whole
from duetto.training.config import Config
from duetto.training.config_io import read_config
from duetto.training.networks import Carrying, Network, Streaming, build_network
from duetto.training.torch_model import NetworkEstimator

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
) -> Bundle:
    """Write a bundle and prove that it gives what the network gives.

    Args:
        config: the experiment that trained the weights.
        weights: its safetensors file.
        target: the .onnx file; it appears when it is complete and proven.
        bits: of a stored weight, 4 to 8, 16 or 32; they are computed with at 32 bits.
        metrics: scores with the protocol that gave them.

    Returns:
        The bundle, open.

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
    estimator = NetworkEstimator(config, network, metrics)
    graph = _trace(estimator)
    _shorten(graph, bits)
    helper.set_model_props(graph, {METADATA_KEY: estimator.metadata.to_json()})
    content = graph.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        proof = Path(folder) / target.name
        proof.write_bytes(content)
        _prove(Bundle(proof), estimator)
    write_whole(target, content)
    return Bundle(target)


def export_run(
    run: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    bits: Bits = 16,
    metrics: str | os.PathLike[str] | None = None,
) -> Bundle:
    """Export the best weights of a training run; how it went is told in the bundle's metrics.

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
    card = _read(Path(metrics), "give the scores.json of duetto evaluate") if metrics else {}
    if (run / SUMMARY).exists():
        summary = _read(run / SUMMARY, "train again")
        card["training"] = {key: value for key, value in summary.items() if key != "config"}
    return export(config, run / BEST, target or run / f"{config.name}.onnx", bits=bits, metrics=card)


def _read(path: Path, advice: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path} ({error}); {advice}") from error


class _Masks(nn.Module):
    """A network as the graph of a bundle: of whole sequences, or of pieces if it can take them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, seen: Tensor, *state: Tensor) -> Tensor | tuple[Tensor, ...]:
        if isinstance(self.network, Carrying):
            follows, *before = state
            masks, after = self.network.carry(seen, before, follows)
            return masks, *after
        if isinstance(self.network, Streaming):
            return self.network.step(seen, *state)
        return self.network.masks(seen)


def _fold_norms(network: nn.Module) -> None:
    """Make every batch normalisation that follows a convolution part of it."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            layer, norm = sequence[index], sequence[index + 1]
            if isinstance(norm, nn.BatchNorm2d):
                assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
                folded = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
                sequence[index], sequence[index + 1] = folded, nn.Identity()


def _trace(estimator: NetworkEstimator) -> onnx.ModelProto:
    network, kind = estimator.network, str(estimator.config.network.input)
    probe = estimator.probe(50)
    example = {kind: torch.from_numpy(to_planes(probe) if np.iscomplexobj(probe) else probe)}
    outputs = ["masks"]
    axes = {kind: {0: "batch_size", 2: "n_frames"}, "masks": {0: "batch_size", 2: "n_frames_out"}}
    if isinstance(network, Streaming):
        example["state"] = torch.zeros(1, network.state_size)
        outputs.append("next_state")
        axes |= {"state": {0: "batch_size"}, "next_state": {0: "batch_size"}}
        axes[kind][2] = "n_frames_seen"
    if not np.iscomplexobj(probe):
        axes["masks"] = {0: "batch_size", 3: "n_frames"}
    if isinstance(network, Carrying):
        example["follows"] = torch.tensor(0)
        for index, maps in enumerate(network.empty_state(1)):
            for name in (f"state.{index}", f"next_state.{index}"):
                axes[name] = {0: "batch_size", 2: f"n_frames.{name}"}
            example[f"state.{index}"] = maps
            outputs.append(f"next_state.{index}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # the exporter announces its successor, which does not yet know recurrent layers of any length,
        # and doubts batches of several, which the parity check below tries
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            _Masks(network).eval(),  # the exporter leaves the mode that it finds
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


def _prove(bundle: Bundle, estimator: NetworkEstimator) -> None:
    """Compare the graph with the network.

    The largest difference of single bins says nothing: where both activations nearly vanish their ratio is
    rounding, and PyTorch at 32 bits differs from itself at 64 bits as much. Over the bins of a frame they
    weigh little, while a wrong graph is wrong by far more, be it in one frame alone.
    """
    bundle.verify()
    first, grid = bundle.metadata.first_frames, bundle.metadata.frame_grid
    for n_frames in (*PARITY_FRAMES, *([first + 5 * grid + 1] if first else [])):
        one = estimator.probe(n_frames)
        batch = np.concatenate([one, 0.1 * one[..., ::-1]])
        answers = [bundle.masks(batch)]
        if bundle.metadata.streams:
            answers.append(_by_steps(bundle, batch))
        if bundle.metadata.first_frames:
            answers.append(_carried(bundle, batch))
        differences = np.stack(answers) - estimator.masks(batch)
        worst = float(np.sqrt((np.abs(differences) ** 2).mean(axis=-2)).max())
        if not worst <= PARITY:
            raise ModelError(
                f"{bundle.path.name}: the exported graph differs from the network by {worst:.1e} on "
                f"{n_frames} frames, allowed are {PARITY:.0e}; report this with the version of torch"
            )


def _by_steps(bundle: Bundle, magnitude: NDArray[np.float32], n_frames: int = 13) -> NDArray[np.float32]:
    edges = bundle.metadata.look_back, bundle.metadata.look_ahead
    padded = np.pad(magnitude, [(0, 0), (0, 0), edges], mode="edge")
    pieces, state = [], None
    for start in range(0, magnitude.shape[-1], n_frames):
        masks, state = bundle.step(padded[..., start : start + sum(edges) + n_frames], state)
        pieces.append(masks)
    return np.concatenate(pieces, axis=-1)


def _carried(bundle: Bundle, spectrogram: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Its masks in pieces, of which the first is as short as it may be."""
    step = 2 * bundle.metadata.frame_grid
    pieces, state = [], None
    starts = [0, *range(bundle.metadata.first_frames, spectrogram.shape[-1], step)]
    for start, stop in itertools.pairwise([*starts, spectrogram.shape[-1]]):
        masks, state = bundle.carry(spectrogram[..., start:stop], state, follows=start != starts[-1])
        pieces.append(masks)
    return np.concatenate(pieces, axis=-1)
