"""A bundle of a few kilobytes, made without torch: its vocals mask is |X| / (|X| + 1)."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from duetto.models.onnx_model import METADATA_KEY, BundleMetadata, probe_answer, probe_input

N_FFT = 1024
METADATA = BundleMetadata(
    format_version=1,
    name="tiny",
    summary="louder bins are vocals",
    sample_rate=16000,
    n_fft=N_FFT,
    hop_length=N_FFT // 2,
    window="sine",
    input="magnitude",
    sources=["vocals", "accompaniment"],
    causal=True,
    look_ahead=0,
    n_parameters=0,
    recipe={},
    training_data="nothing",
    licence="MIT",
    metrics={},
    project_version="0",
    probe=[],
)


class TinyEstimator:
    """The same network without a file."""

    metadata = METADATA

    def masks(self, magnitude: np.ndarray) -> np.ndarray:
        vocals = magnitude / (magnitude + 1)
        return np.stack([vocals, 1 - vocals], axis=1)


def write_model(path: Path, **changes: Any) -> Path:
    """Write the bundle, its metadata changed as told, and return its path."""
    n_bins = N_FFT // 2 + 1
    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["magnitude", "axis"], ["one"]),
            helper.make_node("Add", ["one", "unit"], ["sum"]),
            helper.make_node("Div", ["one", "sum"], ["vocals"]),
            helper.make_node("Div", ["unit", "sum"], ["accompaniment"]),
            helper.make_node("Concat", ["vocals", "accompaniment"], ["masks"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, ["batch_size", n_bins, "n_frames"])],
        [helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["batch_size", 2, n_bins, "n_frames"])],
        [
            numpy_helper.from_array(np.array([1]), "axis"),
            numpy_helper.from_array(np.ones(1, np.float32), "unit"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    probe = probe_answer(TinyEstimator().masks(probe_input(n_bins)))
    metadata = BundleMetadata(**{**asdict(METADATA), "probe": probe, **changes})
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def write_stateful_model(path: Path, n_units: int = 8) -> Path:
    """Write a bundle that streams: a small recurrent network that sees a frame on either side."""
    rng = np.random.default_rng(0)
    n_bins = N_FFT // 2 + 1
    constants = {
        "inputs": rng.normal(0, 0.02, (1, n_units, 3 * n_bins)),
        "recurrence": rng.normal(0, 0.4, (1, n_units, n_units)),
        "outputs": rng.normal(0, 1, (n_units, n_bins)),
        "one": np.ones(1),
    }
    places = {"0": [0], "1": [1], "2": [2], "-1": [-1], "-2": [-2], "end": [2**31]}
    make = helper.make_node
    nodes = [
        make("Slice", ["magnitude", "0", "-2", "2"], ["before"]),
        make("Slice", ["magnitude", "1", "-1", "2"], ["now"]),
        make("Slice", ["magnitude", "2", "end", "2"], ["after"]),
        make("Concat", ["before", "now", "after"], ["seen"], axis=1),
        make("Transpose", ["seen"], ["steps"], perm=[2, 0, 1]),
        make("Unsqueeze", ["state", "0"], ["initial"]),
        make(
            "RNN",
            ["steps", "inputs", "recurrence", "", "", "initial"],
            ["units", "final"],
            hidden_size=n_units,
        ),
        make("Squeeze", ["final", "0"], ["next_state"]),
        make("Squeeze", ["units", "1"], ["hidden"]),
        make("MatMul", ["hidden", "outputs"], ["logits"]),
        make("Transpose", ["logits"], ["by_bin"], perm=[1, 2, 0]),
        make("Sigmoid", ["by_bin"], ["share"]),
        make("Unsqueeze", ["share", "1"], ["vocals"]),
        make("Sub", ["one", "vocals"], ["accompaniment"]),
        make("Concat", ["vocals", "accompaniment"], ["masks"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("magnitude", TensorProto.FLOAT, ["batch_size", n_bins, "n_seen"]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch_size", n_units]),
        ],
        [
            helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["batch_size", 2, n_bins, "n_frames"]),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, ["batch_size", n_units]),
        ],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()),
            *(numpy_helper.from_array(np.array(place), name) for name, place in places.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = replace(METADATA, name="tiny-stream", streams=True, look_back=1, look_ahead=1)
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    path.write_bytes(model.SerializeToString())
    return path
