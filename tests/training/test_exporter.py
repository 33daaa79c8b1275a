"""A model file is the network that was trained, to 1e-4, whatever the length and the batch."""

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from duetto import __version__
from duetto.errors import ConfigError, ModelError
from duetto.models.onnx_model import METADATA_KEY, OnnxModel, probe_input
from duetto.training import exporter as room
from duetto.training.checkpoint import load_weights, save_weights
from duetto.training.config import Config
from duetto.training.config_io import parse_config
from duetto.training.exporter import Bits, export, export_run
from duetto.training.networks import Network, build_network
from duetto.training.networks.drnn import DRNN
from duetto.training.torch_model import TorchModel
from helpers.quick import first

N_BINS = 65


def config(**network: Any) -> Config:
    is_unet = network.get("kind") == "unet"
    return parse_config(
        {
            "name": "small",
            "summary": "a small network",
            "stft": {"n_fft": 128, "hop_length": 64, "window": "hann"},
            "network": network if is_unet else {"hidden_size": 24, **network},
            "loss": {"kind": "l1" if is_unet else "mse", "discrimination": 0.0},
            "data": {"sample_rate": 8000, "description": "nothing", "licence": "none"},
        }
    )


def write_weights(path: Path, settings: Config, *, seed: int = 0, n_bins: int = N_BINS) -> Path:
    torch.manual_seed(seed)
    network = build_network(settings.network, n_bins)
    for name, parameter in network.named_parameters():
        if "bias" in name:
            torch.nn.init.uniform_(parameter, -0.1, 0.1)
    save_weights(path, network)
    return path


def network_of(model: OnnxModel, weights: Path, *, bits: int) -> Network:
    network = build_network(parse_config(model.metadata.recipe).network, model.metadata.stft.n_bins)
    load_weights(weights, network)
    for parameter in network.parameters():
        if parameter.ndim == 1 or parameter.numel() < 256:
            continue
        if bits == 16:
            parameter.data = parameter.data.half().float()
        if bits <= 8:
            rows = parameter.data.flatten(1)
            steps = rows.abs().amax(1, keepdim=True) / {5: 15, 8: 127}[bits]
            parameter.data = ((rows / steps).round() * steps).reshape(parameter.shape)
    return network.eval()


def check_parity(model: OnnxModel, network: Network, magnitude: NDArray[np.float32]) -> None:
    """Within 1e-4 in every bin whose activations are more than rounding, and on average in every frame."""
    x = torch.from_numpy(magnitude)
    with torch.inference_mode():
        expected = network.masks(x).numpy()
        weight = network.activations(x.transpose(1, 2)).abs().sum(1).transpose(1, 2).numpy()
    found = model.masks(magnitude)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    clear = np.broadcast_to((weight > 1e-2 * weight.max())[:, None], difference.shape)
    assert clear.mean() > 0.9
    assert difference[clear].max() < 1e-4
    assert np.sqrt((difference**2).mean(axis=3)).max() < 1e-4


@pytest.mark.parametrize(
    "network",
    first(
        5,
        {"recurrent_layers": []},
        {"recurrent_layers": [1, 2, 3], "context": 5},
        {"joint_mask": "none", "n_outputs": 1},
        {"kind": "vpnn"},
        {"kind": "vpnn", "vectors": "colour", "activation": "sigmoid", "brightest": 2.0},
        {"recurrent_layers": [2]},
        {"context": 1, "joint_mask": "squared"},
        {"joint_mask": "linear"},
        {"joint_mask": "none", "bias": False},
    ),
    ids=str,
)
@pytest.mark.parametrize("bits", first(1, 32, 5, 8, 16))
def test_a_model_gives_the_networks_masks_at_any_length_and_batch(
    tmp_path: Path, rng: np.random.Generator, network: dict[str, Any], bits: Bits
) -> None:
    settings = config(**network)
    weights = write_weights(tmp_path / "weights", settings)
    model = export(settings, weights, tmp_path / "small.onnx", bits=bits)
    trained = network_of(model, weights, bits=bits)
    for n_frames in (1, 2, 37, 101):
        for batch_size in (1, 3):
            magnitude = rng.uniform(0, 2, (batch_size, n_frames, N_BINS)).astype(np.float32)
            check_parity(model, trained, magnitude)


@pytest.mark.slow
@pytest.mark.parametrize("shape", first(1, (2, True), (2, False), (1, False)))
@pytest.mark.parametrize("bits", first(1, 8, 16, 32))
def test_a_unets_model_gives_its_complex_masks(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, bool], bits: Bits
) -> None:
    n_channels, cross_masks = shape
    settings = config(
        kind="unet", n_channels=n_channels, cross_masks=cross_masks, n_sub_bands=4, width=6, n_levels=2
    )
    torch.manual_seed(0)
    trained = build_network(settings.network, N_BINS)
    for name, held in trained.state_dict().items():  # as after some training, with norms to be folded in
        if held.is_floating_point():
            held.add_(0.2 * torch.rand_like(held) if "var" in name else 0.1 * torch.randn_like(held))
    weights = tmp_path / "weights"
    save_weights(weights, trained)
    model = export(settings, weights, tmp_path / "small.onnx", bits=bits)
    metadata = model.metadata
    assert (metadata.input, metadata.n_channels) == ("spectrogram", n_channels)
    assert metadata.stream_frames == 0
    assert metadata.first_frames == trained.first_frames
    assert metadata.frame_grid == 4
    n_weights = sum(weight.numel() for weight in trained.parameters())
    assert 0.99 * n_weights < metadata.n_parameters < n_weights  # norms have become part of convolutions
    for n_frames in (1, 2, 37):
        parts = rng.standard_normal((2, 3, n_channels, n_frames, N_BINS)).astype(np.float32)
        spectrogram = (parts[0] + 1j * parts[1]).astype(np.complex64)
        with torch.inference_mode():
            vocals = trained.eval()(torch.from_numpy(spectrogram).transpose(2, 3)).transpose(2, 3).numpy()
        found = model.masks(spectrogram)
        assert found.shape == (3, n_channels * (1 + cross_masks), n_frames, N_BINS)
        assert found.dtype == np.complex64
        products = spectrogram * found[:, :n_channels]
        if cross_masks:
            products += spectrogram[:, ::-1] * found[:, n_channels:]
        error = np.abs(products - vocals).max() / np.abs(vocals).max()
        assert error < {8: 0.1, 16: 5e-3, 32: 1e-5}[bits]


def test_the_papers_network_before_training_passes(tmp_path: Path) -> None:
    """Its masks differ by more than 1e-4 in single bins, where 32 bits differ from 64 as much."""
    settings = parse_config({"network": {"hidden_size": 64}})
    weights = write_weights(tmp_path / "weights", settings, n_bins=513)
    model = export(settings, weights, tmp_path / "drnn.onnx")
    network = network_of(model, weights, bits=16)
    magnitude = np.concatenate([probe_input(model.metadata, 101), 0.1 * probe_input(model.metadata, 101)])
    check_parity(model, network, magnitude)
    with torch.inference_mode():
        single = network.masks(torch.from_numpy(magnitude)).numpy()
        double = network.double().masks(torch.from_numpy(magnitude).double()).numpy()
    worst = np.abs(single - double).max()
    assert worst > 3e-5
    assert np.abs(model.masks(magnitude) - double).max() < 10 * worst


@pytest.mark.parametrize(
    "fault", first(2, "one weight", "forgotten state", "one bias", "edge frame", "order of sources")
)
def test_a_wrong_graph_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Even one that is wrong in one bin, in one weight of thousands or in the last frame alone."""
    trace = room._trace

    class _Faulty(torch.nn.Module):
        def __init__(self, network: DRNN) -> None:
            super().__init__()
            self.network = network
            self.first_frames, self.empty_state = network.first_frames, network.empty_state
            self.masks = network.masks

        def step(
            self, x: torch.Tensor, state: list[torch.Tensor], is_last: torch.Tensor
        ) -> tuple[torch.Tensor, list[torch.Tensor]]:
            if fault == "edge frame":
                x = torch.cat([x[:, :-1], 1.01 * x[:, -1:]], dim=1)
            masks, (held, *hidden) = self.network.step(x, state, is_last)
            masks = masks.flip(1) if fault == "order of sources" else masks
            return masks, [held, *(0 * values if fault == "forgotten state" else values for values in hidden)]

    def traced(estimator: TorchModel) -> onnx.ModelProto:
        network = estimator.network
        assert isinstance(network, DRNN)
        faulty = TorchModel(estimator.config, _Faulty(network))  # type: ignore[arg-type]
        graph = trace(faulty)
        for tensor in graph.graph.initializer:
            values = numpy_helper.to_array(tensor).copy()
            if fault == "one bias" and values.shape == (2 * N_BINS,):
                values[7] += 0.05
            if fault == "one weight" and 24 in values.shape and 2 * N_BINS in values.shape:
                values[3, 3] += 0.2
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return graph

    target = tmp_path / "small.onnx"
    target.write_bytes(b"what was there before")
    weights = write_weights(tmp_path / "weights", config())
    monkeypatch.setattr(room, "_trace", traced)
    with pytest.raises(ModelError, match=r"differs from the network by|the network answers"):
        export(config(), weights, target)
    assert target.read_bytes() == b"what was there before"
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx", "weights"}


def test_metadata_say_what_was_trained(tmp_path: Path) -> None:
    settings = config(context=5)
    weights = write_weights(tmp_path / "weights", settings)
    metrics = {"protocol": "none", "means": {"vocals": {"gnsdr": 1.0}}}
    model = export(settings, weights, tmp_path / "small.onnx", metrics=metrics)
    said = dataclasses.asdict(model.metadata)
    probe = said.pop("probe")
    assert said == {
        "format_version": 6,
        "name": "small",
        "summary": "a small network",
        "sample_rate": 8000,
        "n_fft": 128,
        "hop_length": 64,
        "window": "hann",
        "input": "magnitude",
        "n_channels": 1,
        "frame_grid": 1,
        "paper": "",
        "segment_seconds": 10.24,
        "overlap_seconds": 2.0,
        "first_frames": 3,
        "look_ahead": 2,
        "stream_frames": 1,
        "n_passes": 1,
        "sources": ("vocals", "accompaniment"),
        "n_parameters": sum(p.numel() for p in network_of(model, weights, bits=16).parameters()),
        "recipe": settings.model_dump(mode="json"),
        "training_data": "nothing",
        "licence": "none",
        "metrics": metrics,
        "project_version": __version__,
    }
    assert len(probe) == 8
    assert np.ptp(probe) > 0
    model.verify()


def test_vocals_are_the_first_mask(tmp_path: Path) -> None:
    """A network whose second activations are 0 gives all to the source that the metadata name first."""
    settings = config()
    network = build_network(settings.network, N_BINS)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias[:N_BINS] = 1
        network.output.bias[N_BINS:] = 0
    save_weights(tmp_path / "weights", network)
    model = export(settings, tmp_path / "weights", tmp_path / "small.onnx")
    masks = dict(zip(model.metadata.sources, model.masks(probe_input(model.metadata))[0], strict=True))
    assert masks["vocals"].min() > 0.999
    assert masks["accompaniment"].max() < 1e-3


@pytest.mark.slow
def test_fewer_bits_shorten_the_file_and_hardly_move_the_masks(tmp_path: Path) -> None:
    settings = config(hidden_size=200)
    weights = write_weights(tmp_path / "weights", settings)
    halves = export(settings, weights, tmp_path / "half.onnx")
    whole = export(settings, weights, tmp_path / "whole.onnx", bits=32)
    bytes_ = export(settings, weights, tmp_path / "byte.onnx", bits=8)
    fewer = export(settings, weights, tmp_path / "fewer.onnx", bits=6)
    assert 0.5 < halves.n_bytes / whole.n_bytes < 0.52
    assert 0.25 < bytes_.n_bytes / whole.n_bytes < 0.28
    zipped = [len(zlib.compress(model.path.read_bytes())) for model in (fewer, bytes_)]
    assert zipped[0] < 0.8 * zipped[1]
    assert whole.n_bytes == pytest.approx(4 * whole.metadata.n_parameters, rel=0.05)
    magnitude = probe_input(whole.metadata, 50)
    for short, most in ((halves, 3e-3), (bytes_, 3e-2), (fewer, 0.1)):
        moved = short.masks(magnitude) - whole.masks(magnitude)
        assert 0 < np.sqrt((moved**2).mean()) < most


def test_a_row_of_small_weights_keeps_them() -> None:
    weight = torch.randn(64, 5, 9, generator=torch.Generator().manual_seed(0))
    weight *= torch.logspace(-6, 0, 64)[:, None, None]
    weight[3] = 0
    error = (room._rounded(weight, 6) - weight).abs().amax((1, 2))
    assert (error <= 0.501 * weight.abs().amax((1, 2)) / 31).all()


def test_a_network_without_a_state_is_exported_for_whole_sequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole(torch.nn.Module):
        def __init__(self, network: DRNN) -> None:
            super().__init__()
            self.network, self.n_bins = network, network.n_bins

        def masks(self, magnitude: torch.Tensor) -> torch.Tensor:
            return self.network.masks(magnitude)

    settings = config()
    whole = Whole(build_network(settings.network, N_BINS))
    weights = tmp_path / "weights"
    save_weights(weights, whole)  # type: ignore[arg-type]
    monkeypatch.setattr(room, "build_network", lambda *_: whole)
    model = export(settings, weights, tmp_path / "small.onnx")
    assert not model.metadata.is_stateful
    assert model.masks(probe_input(model.metadata, 7)).shape == (1, 2, 7, N_BINS)


def test_one_run_exports_the_same_bytes_twice(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights", config())
    for name in ("one", "two"):
        export(config(), weights, tmp_path / name / "small.onnx")
    one, two = ((tmp_path / name / "small.onnx").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What export needs of a training run's folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(config().model_dump_json(), encoding="utf-8")
    write_weights(folder / "best.safetensors", config())
    return folder


def test_a_run_is_exported_beside_its_files_with_its_scores(run: Path, tmp_path: Path) -> None:
    scores = {"aggregation": "mean", "means": {"vocals": {"gnsdr": 7.5}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    model = export_run(run, metrics=tmp_path / "scores.json")
    assert model.path == run / "small.onnx"
    assert model.metadata.metrics == scores
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda run: (run / "config.json").unlink(), ConfigError, "give the folder of a training run"),
        (lambda run: (run / "best.safetensors").unlink(), ModelError, "has the run finished"),
        (
            lambda run: (run / "best.safetensors").write_bytes(b"x" * 99),
            ModelError,
            "cannot load the weights",
        ),
        (
            lambda run: write_weights(run / "best.safetensors", config(hidden_size=8)),
            ModelError,
            "cannot load the weights",
        ),
    ],
    ids=["no config", "no weights", "damaged weights", "weights of another network"],
)
def test_a_run_that_lacks_something_is_refused(
    run: Path, tmp_path: Path, damage: Any, error: type[Exception], said: str
) -> None:
    target = tmp_path / "small.onnx"
    target.write_bytes(b"what was there before")
    damage(run)
    with pytest.raises(error, match=said):
        export_run(run, target)
    assert target.read_bytes() == b"what was there before"


def test_scores_that_cannot_be_read_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scores\.json of duetto evaluate"):
        export_run(run, metrics=tmp_path / "missing.json")


def test_a_target_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write"):
        export_run(run, tmp_path / "file" / "small.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        export_run(run, tmp_path / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "run"}


def test_a_file_without_metadata_stays_foreign(run: Path, tmp_path: Path) -> None:
    graph = onnx.load(export_run(run).path)
    assert [item.key for item in graph.metadata_props] == [METADATA_KEY]
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match="not a Duetto model"):
        OnnxModel(tmp_path / "bare.onnx")


def test_the_network_in_training_answers_as_its_bundle(run: Path) -> None:
    network = build_network(config().network, N_BINS)
    load_weights(run / "best.safetensors", network)
    estimator = TorchModel(config(), network)
    model = export_run(run, bits=32)
    assert estimator.metadata == model.metadata
    probe = probe_input(model.metadata)
    assert np.allclose(estimator.masks(probe), model.masks(probe), atol=1e-4)
