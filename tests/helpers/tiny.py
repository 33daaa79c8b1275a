"""Model files of a few kilobytes, made without torch, and the models of tests."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import METADATA_KEY, probe_answer, probe_input

N_FFT = 1024
N_BINS = N_FFT // 2 + 1
METADATA = ModelMetadata(
    name="tiny", summary="loud bins are vocals", n_fft=N_FFT, hop_length=N_FFT // 2, window="sine"
)


class TinyModel:
    """The vocals mask is |X| / (|X| + 1)."""

    metadata = METADATA

    def masks(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        vocals = magnitude / (magnitude + 1)
        return np.stack([vocals, 1 - vocals], axis=1)


class ConstantModel:
    """A vocals mask that is a number, or an array over the 513 bins; it keeps its inputs in `inputs`."""

    metadata = METADATA

    def __init__(self, mask: Any) -> None:
        self.mask = np.broadcast_to(np.asarray(mask, np.float32), N_BINS)
        self.inputs: list[NDArray[np.float32]] = []

    def masks(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        assert magnitude.dtype == np.float32
        assert magnitude.shape[2] == N_BINS
        self.inputs.append(magnitude.copy())
        vocals = np.broadcast_to(self.mask, magnitude.shape)
        return np.stack([vocals, 1 - vocals], axis=1)


class SpectrogramModel:
    """Complex masks by a rule, or constant ones, a number for each; it keeps its inputs."""

    def __init__(self, *rule: complex | Callable[[NDArray[np.complex64]], Any], n_channels: int = 2) -> None:
        self.rule = rule
        self.inputs: list[NDArray[np.complex64]] = []
        self.metadata = replace(
            METADATA, input="spectrogram", n_channels=n_channels, n_fft=1920, hop_length=480, window="hann"
        )

    def masks(self, spectrogram: NDArray[np.complex64]) -> NDArray[np.complex64]:
        self.inputs.append(spectrogram)
        (first, *_) = self.rule
        masks = first(spectrogram) if callable(first) else np.array(self.rule)[:, None, None]
        shape = np.broadcast_shapes(np.shape(masks), spectrogram.shape[2:])[-3:]
        return np.broadcast_to(masks, (1, *shape)).astype(np.complex64)


def write_model(path: Path, **changes: Any) -> Path:
    """Write `TinyModel` as a model file, its metadata changed as told, and return its path."""
    make = helper.make_node
    nodes = [
        make("Unsqueeze", ["magnitude", "axis"], ["one"]),
        make("Add", ["one", "unit"], ["sum"]),
        make("Div", ["one", "sum"], ["vocals"]),
        make("Div", ["unit", "sum"], ["accompaniment"]),
        make("Concat", ["vocals", "accompaniment"], ["masks"], axis=1),
    ]
    probe = tuple(probe_answer(TinyModel().masks(probe_input(METADATA))))
    metadata = replace(METADATA, **{"probe": probe, **changes})
    constants = {"axis": np.array([1]), "unit": np.ones(1, np.float32)}
    return write_graph(path, nodes, constants, metadata)


def write_stateful_model(path: Path, n_units: int = 8) -> Path:
    """Write a stateful model: a small recurrent network with an input of a frame on either side."""
    rng = np.random.default_rng(0)
    weights = {
        "inputs": rng.normal(0, 0.02, (1, n_units, 3 * N_BINS)),
        "recurrence": rng.normal(0, 0.4, (1, n_units, n_units)),
        "outputs": rng.normal(0, 1, (n_units, N_BINS)),
    }
    numbers = {"0": 0, "1": 1, "2": 2, "[0]": [0], "[1]": [1], "[2]": [2], "[-1]": [-1], "[-2]": [-2]}
    make = helper.make_node
    nodes = [
        # the frames held and the new ones, the edges of the sequence repeated
        make("Concat", ["state.0", "magnitude"], ["frames"], axis=1),
        make("Shape", ["state.0"], ["held shape"]),
        make("Gather", ["held shape", "1"], ["n_held"]),
        make("Div", ["n_held", "2"], ["n_before"]),
        make("Sub", ["n_before", "1"], ["start"]),
        make("Shape", ["frames"], ["shape"]),
        make("Gather", ["shape", "1"], ["n_frames"]),
        make("Add", ["n_frames", "is_last"], ["stop"]),
        make("Sub", ["n_frames", "1"], ["end"]),
        make("Range", ["start", "stop", "1"], ["places"]),
        make("Clip", ["places", "0", "end"], ["index"]),
        make("Gather", ["frames", "index"], ["padded"], axis=1),
        make("Slice", ["padded", "[-2]", "last", "[1]"], ["next_state.0"]),
        # each with its neighbours through the network
        make("Slice", ["padded", "[0]", "[-2]", "[1]"], ["before"]),
        make("Slice", ["padded", "[1]", "[-1]", "[1]"], ["now"]),
        make("Slice", ["padded", "[2]", "last", "[1]"], ["after"]),
        make("Concat", ["before", "now", "after"], ["around"], axis=2),
        make("Transpose", ["around"], ["steps"], perm=[1, 0, 2]),
        make("Unsqueeze", ["state.1", "[0]"], ["initial"]),
        make(
            "RNN",
            ["steps", "inputs", "recurrence", "", "", "initial"],
            ["units", "final"],
            hidden_size=n_units,
        ),
        make("Squeeze", ["final", "[0]"], ["next_state.1"]),
        make("Squeeze", ["units", "[1]"], ["hidden"]),
        make("MatMul", ["hidden", "outputs"], ["logits"]),
        make("Transpose", ["logits"], ["by frame"], perm=[1, 0, 2]),
        make("Sigmoid", ["by frame"], ["mask"]),
        make("Unsqueeze", ["mask", "[1]"], ["vocals"]),
        make("Sub", ["one", "vocals"], ["accompaniment"]),
        make("Concat", ["vocals", "accompaniment"], ["masks"], axis=1),
    ]
    constants = {
        "one": np.ones(1, np.float32),
        "last": np.array([2**31]),
        **{name: values.astype(np.float32) for name, values in weights.items()},
        **{name: np.array(value) for name, value in numbers.items()},
    }
    state = {"state.0": ["batch_size", "n_held", N_BINS], "state.1": ["batch_size", n_units]}
    metadata = replace(METADATA, name="tiny-stream", first_frames=2, look_ahead=1, stream_frames=1)
    return write_graph(path, nodes, constants, metadata, state)


def write_graph(
    path: Path,
    nodes: list[NodeProto],
    constants: Mapping[str, NDArray[Any]],
    metadata: ModelMetadata,
    state: Mapping[str, list[str | int]] = {},
) -> Path:
    """Write a graph of magnitudes to masks as a model file, and return its path."""
    real, info = TensorProto.FLOAT, helper.make_tensor_value_info
    inputs = [info("magnitude", real, ["batch_size", "n_frames", N_BINS])]
    outputs = [info("masks", real, ["batch_size", 2, "n_masks", N_BINS])]
    if state:
        inputs.append(info("is_last", TensorProto.INT64, []))
        inputs += [info(name, real, shape) for name, shape in state.items()]
        outputs += [info(f"next_{name}", real, shape) for name, shape in state.items()]
    initializers = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    path.write_bytes(model.SerializeToString())
    return path
