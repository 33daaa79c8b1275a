import json
import pickle
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from duetto.errors import ModelError
from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import METADATA_KEY, OnnxModel, probe_input
from helpers.quick import at_most
from helpers.tiny import METADATA, write_model


def rewritten(source, target, values):
    """A copy of a model file with other metadata, given as a dict or as text."""
    model = onnx.load(source)
    del model.metadata_props[:]
    text = values if isinstance(values, str) else json.dumps(values)
    helper.set_model_props(model, {METADATA_KEY: text})
    target.write_bytes(model.SerializeToString())
    return target


def one_line(excinfo, path):
    message = str(excinfo.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_metadata_survive_the_file(tiny_model):
    written = ModelMetadata(**asdict(METADATA) | {"probe": OnnxModel(tiny_model).metadata.probe})
    assert OnnxModel(tiny_model).metadata == written
    assert ModelMetadata.from_json(written.to_json(), origin="x") == written


def test_a_model_answers_and_verifies(tiny_model):
    model = OnnxModel(tiny_model)
    magnitude = probe_input(METADATA, 7)
    masks = model.masks(np.concatenate([magnitude, 2 * magnitude]))
    assert masks.shape == (2, 2, 7, 513)
    np.testing.assert_allclose(masks[:1, 0], magnitude / (magnitude + 1), atol=1e-6)
    assert model.n_bytes == tiny_model.stat().st_size
    model.verify()


def test_a_copy_opens_its_own_session_when_it_needs_one(tiny_stateful_model):
    """As one that is sent to another process, or run on other threads."""
    model = OnnxModel(tiny_stateful_model)
    x = probe_input(model.metadata, 5)
    for other in (pickle.loads(pickle.dumps(model)), model.on_threads(2)):
        assert "_session" not in vars(other)
        assert (other.sha256, other.metadata) == (model.sha256, model.metadata)
        np.testing.assert_allclose(other.masks(x), model.masks(x), atol=1e-6)
    assert model.on_threads(1) is model
    assert model.on_threads(2).n_threads == 2


def test_chunks_of_a_stateful_model_give_the_masks_of_the_whole(tiny_stateful_model):
    model = OnnxModel(tiny_stateful_model)
    x = probe_input(model.metadata, 9)
    masks, state = [], None
    for start, stop in ((0, 3), (3, 4), (4, 9)):
        found, state = model.step(x[:, start:stop], state, is_last=stop == 9)
        masks.append(found)
    assert [found.shape[2] for found in masks] == [2, 1, 6]  # one frame late
    np.testing.assert_allclose(np.concatenate(masks, axis=2), model.masks(x), atol=1e-6)


@pytest.mark.parametrize("key", asdict(METADATA))
def test_a_missing_key_is_named(tiny_model, tmp_path, key):
    values = {name: value for name, value in asdict(METADATA).items() if name != key}
    path = rewritten(tiny_model, tmp_path / "bad.onnx", values)
    with pytest.raises(ModelError, match=f"lack '{key}'") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


def test_a_foreign_key_is_named(tiny_model, tmp_path):
    path = rewritten(tiny_model, tmp_path / "bad.onnx", asdict(METADATA) | {"colour": "blue"})
    with pytest.raises(ModelError, match="unknown key 'colour'") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "6"), ("format_version", True), ("name", 5), ("name", ""),
        ("name", "../../outside"), ("name", "a\\b"), ("sample_rate", -16000), ("sample_rate", 0),
        ("sample_rate", 16000.0), ("sample_rate", 10**9), ("n_fft", 1023), ("n_fft", 0), ("n_fft", -1024),
        ("n_fft", 2**60), ("hop_length", 513), ("hop_length", 0), ("hop_length", 1), ("hop_length", "512"),
        ("window", "boxcar"), ("window", None), ("input", "waveform"), ("sources", "vocals"),
        ("sources", ["vocals"]), ("sources", ["drums", "bass"]), ("sources", ["vocals", 1]),
        ("look_ahead", -1), ("first_frames", -1), ("first_frames", None), ("stream_frames", 1),
        ("overlap_seconds", 0.0), ("overlap_seconds", 6.0), ("segment_seconds", 10),
        ("frame_grid", 0), ("segment_seconds", 1e9),
        ("n_passes", 0), ("n_passes", 10), ("n_passes", 1.0),
        ("recipe", []), ("metrics", None), ("probe", ["a"]), ("probe", [None]),
    ],
)  # fmt: skip
def test_an_ill_typed_or_absurd_value_is_named(tiny_model, tmp_path, key, value):
    path = rewritten(tiny_model, tmp_path / "bad.onnx", asdict(METADATA) | {key: value})
    with pytest.raises(ModelError, match=f"metadata '{key}'") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"duetto"'])
def test_metadata_that_are_no_json_object(tiny_model, tmp_path, text):
    path = rewritten(tiny_model, tmp_path / "bad.onnx", text)
    with pytest.raises(ModelError, match="JSON") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


@pytest.mark.parametrize(
    ("version", "advice"), [(7, "install a newer version"), (5, "export it again"), (0, "export it again")]
)
def test_another_format_says_so_whatever_its_keys_are(tiny_model, tmp_path, version, advice):
    path = rewritten(tiny_model, tmp_path / "bad.onnx", {"format_version": version, "other": 1})
    with pytest.raises(ModelError, match=rf"format {version}, this version of Duetto reads 6.*{advice}"):
        OnnxModel(path)


def test_a_file_truncated_anywhere_is_a_model_error(tiny_model, tmp_path):
    content, path = tiny_model.read_bytes(), tmp_path / "cut.onnx"
    for n_bytes in {0, 1, 2, len(content) - 1, *range(3, len(content), 17)}:
        path.write_bytes(content[:n_bytes])
        with pytest.raises(ModelError) as excinfo:
            OnnxModel(path)
        one_line(excinfo, path)


@at_most(50)
@given(st.data())
def test_a_changed_byte_is_a_model_error_or_harmless(tiny_model, tmp_path, data):
    content, path = bytearray(tiny_model.read_bytes()), tmp_path / "damaged.onnx"
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with suppress(ModelError):
        OnnxModel(path).verify()


def write_foreign(path, *, n_bins=513, n_inputs=1, name="magnitude", shape=None, metadata=None):
    """An ONNX file whose graph joins its inputs along the first axis of its output."""
    names = [name] + [f"other {index}" for index in range(n_inputs - 1)]
    shape = ["batch_size", "n_frames", n_bins] if shape is None else shape
    graph = helper.make_graph(
        [helper.make_node("Concat", names, ["masks"], axis=0)],
        "foreign",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("masks", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_file_of_others_is_no_model_file(tmp_path):
    path = write_foreign(tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not a Duetto model") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


@pytest.mark.parametrize(
    "graph", [{"n_bins": 257}, {"name": "audio"}, {"n_inputs": 2}, {"shape": ["n"]}, {}], ids=str
)
def test_a_graph_that_does_not_do_what_the_metadata_promise(tmp_path, graph):
    path = write_foreign(tmp_path / "bad.onnx", metadata=METADATA, **graph)
    with pytest.raises(ModelError, match=r"promise.*513.*its graph") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


@pytest.mark.parametrize("content", [b"", b"a text, no network\n", b"\0" * 1000, b"fLaC" + bytes(99)])
def test_files_of_other_kinds(tmp_path, content):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged, or not an ONNX file") as excinfo:
        OnnxModel(path)
    one_line(excinfo, path)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="Is a directory") as excinfo:
        OnnxModel(tmp_path)
    one_line(excinfo, tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        OnnxModel(tmp_path / "missing.onnx")


def test_nothing_is_printed_for_a_damaged_file(tiny_model, tmp_path, capfd):
    """The runtime announced an undecodable name on stdout before it failed."""
    content = tiny_model.read_bytes().replace(b"magnitude", b"\xe9agnitude")
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        OnnxModel(path)
    assert capfd.readouterr() == ("", "")


def test_verify_notices_a_changed_weight(tiny_model, tmp_path):
    model = onnx.load(tiny_model)
    unit = next(tensor for tensor in model.graph.initializer if tensor.name == "unit")
    unit.CopyFrom(numpy_helper.from_array(np.array([1.01], np.float32), "unit"))
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="at export it answered") as excinfo:
        OnnxModel(path).verify()
    one_line(excinfo, path)


def test_verify_needs_a_recorded_answer(tmp_path):
    with pytest.raises(ModelError, match="at export it answered"):
        OnnxModel(write_model(tmp_path / "tiny.onnx", probe=[])).verify()
