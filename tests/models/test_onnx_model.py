import json
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from duetto.errors import ModelError
from duetto.models import onnx_model as room
from duetto.models.onnx_model import METADATA_KEY, Bundle, BundleMetadata, list_bundles, probe_input
from helpers.tiny import METADATA, write_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "tiny.onnx")


def rewritten(source, target, values):
    """A copy of a bundle with other metadata, given as a dict or as text."""
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


def test_metadata_survive_the_file(tiny):
    written = BundleMetadata(**asdict(METADATA) | {"probe": Bundle(tiny).metadata.probe})
    assert Bundle(tiny).metadata == written
    assert BundleMetadata.from_json(written.to_json(), origin="x") == written


def test_a_bundle_answers_and_verifies(tiny):
    bundle = Bundle(tiny)
    magnitude = probe_input(513, 7)
    masks = bundle.masks(np.concatenate([magnitude, 2 * magnitude]))
    assert masks.shape == (2, 2, 513, 7)
    np.testing.assert_allclose(masks[:1, 0], magnitude / (magnitude + 1), atol=1e-6)
    assert bundle.n_bytes == tiny.stat().st_size
    bundle.verify()


@pytest.mark.parametrize(
    "key",
    list(
        asdict(METADATA).keys()
        - {"streams", "first_frames", "look_back", "n_channels", "frame_grid", "n_passes"}
    ),
)
def test_a_missing_key_is_named(tiny, tmp_path, key):
    values = {name: value for name, value in asdict(METADATA).items() if name != key}
    path = rewritten(tiny, tmp_path / "bad.onnx", values)
    with pytest.raises(ModelError, match=f"lack '{key}'") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


def test_a_foreign_key_is_named(tiny, tmp_path):
    path = rewritten(tiny, tmp_path / "bad.onnx", asdict(METADATA) | {"colour": "blue"})
    with pytest.raises(ModelError, match="unknown key 'colour'") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", "1"), ("format_version", 0), ("format_version", True), ("name", 5), ("name", ""),
        ("name", "../../outside"), ("name", "a\\b"), ("sample_rate", -16000), ("sample_rate", 0),
        ("sample_rate", 16000.0), ("sample_rate", 10**9), ("n_fft", 1023), ("n_fft", 0), ("n_fft", -1024),
        ("n_fft", 2**60), ("hop_length", 513), ("hop_length", 0), ("hop_length", 1), ("hop_length", "512"),
        ("window", "boxcar"), ("window", None), ("input", "waveform"), ("sources", "vocals"),
        ("sources", ["vocals"]), ("sources", ["drums", "bass"]), ("sources", ["vocals", 1]), ("causal", 1),
        ("look_ahead", -1), ("look_back", -1), ("look_back", None), ("streams", "yes"),
        ("n_passes", 0), ("n_passes", 10), ("n_passes", 1.0),
        ("recipe", []), ("metrics", None), ("probe", ["a"]), ("probe", [None]),
    ],
)  # fmt: skip
def test_an_ill_typed_or_absurd_value_is_named(tiny, tmp_path, key, value):
    path = rewritten(tiny, tmp_path / "bad.onnx", asdict(METADATA) | {key: value})
    with pytest.raises(ModelError, match=f"metadata '{key}'") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"duetto"'])
def test_metadata_that_are_no_json_object(tiny, tmp_path, text):
    path = rewritten(tiny, tmp_path / "bad.onnx", text)
    with pytest.raises(ModelError, match="JSON") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


def test_a_newer_format_says_so_whatever_its_keys_are(tiny, tmp_path):
    path = rewritten(tiny, tmp_path / "bad.onnx", {"format_version": 6, "new": 1})
    with pytest.raises(ModelError, match=r"format 6 is newer than 5.*upgrade"):
        Bundle(path)


def test_a_file_truncated_anywhere_is_a_model_error(tiny, tmp_path):
    content, path = tiny.read_bytes(), tmp_path / "cut.onnx"
    for n_bytes in {0, 1, 2, len(content) - 1, *range(3, len(content), 17)}:
        path.write_bytes(content[:n_bytes])
        with pytest.raises(ModelError) as excinfo:
            Bundle(path)
        one_line(excinfo, path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_a_changed_byte_is_a_model_error_or_harmless(tiny, tmp_path, data):
    content, path = bytearray(tiny.read_bytes()), tmp_path / "damaged.onnx"
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with suppress(ModelError):
        Bundle(path).verify()


def write_graph(path, *, n_bins=513, n_inputs=1, name="magnitude", shape=None, metadata=None):
    """An ONNX file whose graph joins its inputs along the first axis of its output."""
    names = [name] + [f"other {index}" for index in range(n_inputs - 1)]
    shape = ["batch_size", n_bins, "n_frames"] if shape is None else shape
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


def test_an_onnx_file_of_others_is_no_bundle(tmp_path):
    path = write_graph(tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not a Duetto bundle") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


@pytest.mark.parametrize(
    "graph", [{"n_bins": 257}, {"name": "audio"}, {"n_inputs": 2}, {"shape": ["n"]}, {}], ids=str
)
def test_a_graph_that_does_not_do_what_the_metadata_promise(tmp_path, graph):
    path = write_graph(tmp_path / "bad.onnx", metadata=METADATA, **graph)
    with pytest.raises(ModelError, match=r"promise.*513.*its graph") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


@pytest.mark.parametrize("content", [b"", b"a text, no network\n", b"\0" * 1000, b"fLaC" + bytes(99)])
def test_files_of_other_kinds(tmp_path, content):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged, or not an ONNX file") as excinfo:
        Bundle(path)
    one_line(excinfo, path)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="Is a directory") as excinfo:
        Bundle(tmp_path)
    one_line(excinfo, tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        Bundle(tmp_path / "missing.onnx")


def test_nothing_is_printed_for_a_damaged_file(tiny, tmp_path, capfd):
    """The runtime announced an undecodable name on stdout before it failed."""
    content = tiny.read_bytes().replace(b"magnitude", b"\xe9agnitude")
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        Bundle(path)
    assert capfd.readouterr() == ("", "")


def test_verify_notices_a_changed_weight(tiny, tmp_path):
    model = onnx.load(tiny)
    unit = next(tensor for tensor in model.graph.initializer if tensor.name == "unit")
    unit.CopyFrom(numpy_helper.from_array(np.array([1.01], np.float32), "unit"))
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="at export it answered") as excinfo:
        Bundle(path).verify()
    one_line(excinfo, path)


def test_verify_needs_a_recorded_answer(tmp_path):
    with pytest.raises(ModelError, match="at export it answered"):
        Bundle(write_model(tmp_path / "tiny.onnx", probe=[])).verify()


@pytest.fixture
def shipped(tmp_path, tiny, monkeypatch):
    """A package that ships the models "alpha" and "beta"."""
    folder = tmp_path / "weights"
    folder.mkdir(parents=True)
    for name in ("beta", "alpha"):
        (folder / f"{name}.onnx").write_bytes(tiny.read_bytes())
    (folder / "notes.txt").write_text("no model")
    monkeypatch.setattr(room.resources, "files", lambda package: tmp_path)
    return folder


def test_models_that_ship_are_listed(shipped):
    assert list(list_bundles().items()) == [(name, shipped / f"{name}.onnx") for name in ("alpha", "beta")]
