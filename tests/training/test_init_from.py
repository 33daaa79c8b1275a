"""Networks initialised from model files: the same masks, usual sizes of weights, fitting statistics."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duetto.errors import ModelError
from duetto.models.onnx_model import OnnxModel, from_planes, probe_input, to_planes
from duetto.models.registry import model_files
from duetto.training.checkpoint import save_weights
from duetto.training.config import Config
from duetto.training.config_io import load_config, parse_config
from duetto.training.exporter import export
from duetto.training.init_from import USUAL_SIZE, initialise_from, unfold_norms
from duetto.training.networks import Network, build_network
from helpers.quick import first

N_BINS = 65


def config(**network: Any) -> Config:
    return parse_config(
        {
            "name": "small",
            "summary": "a small network",
            "stft": {"n_fft": 128, "hop_length": 64, "window": "hann"},
            "network": {"kind": "unet", "n_sub_bands": 4, "width": 6, "n_levels": 2, **network},
            "loss": {"kind": "l1", "discrimination": 0.0},
        }
    )


def trained(settings: Config) -> Network:
    """A network as it could be after training: with norms that do something."""
    torch.manual_seed(3)
    network = build_network(settings.network, N_BINS)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for numbers in (module.weight, module.bias, module.running_mean, module.running_var):
                    numbers += torch.rand_like(numbers)
            if isinstance(module, torch.nn.Linear):
                module.weight += 0.1 * torch.randn_like(module.weight)
        network.head[2].weight += 0.3 * torch.randn_like(network.head[2].weight)
    return network.eval()


@pytest.fixture(params=first(1, 32, 8, 16), scope="module")
def onnx_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder = tmp_path_factory.mktemp("model")
    save_weights(folder / "weights", trained(config()))
    return export(config(), folder / "weights", folder / "small.onnx", bits=request.param)


def masks_of(network: Network, spectrogram: NDArray[np.complex64]) -> NDArray[np.complex64]:
    with torch.inference_mode():
        return from_planes(network.masks(torch.from_numpy(to_planes(spectrogram))).numpy())


def run_mixtures(network: torch.nn.Module) -> None:
    for seed in range(4):
        network.masks(torch.randn(3, 2, 24, N_BINS, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("larger", [{}, {"growth": 40}])
def test_an_initialised_network_has_the_masks_of_the_model_file(
    onnx_model: OnnxModel, larger: dict[str, Any]
) -> None:
    settings = config(**larger)
    network = build_network(settings.network, N_BINS).eval()
    spectrogram = probe_input(onnx_model.metadata, 29)
    expected = onnx_model.masks(spectrogram)
    initialise_from(onnx_model.path, network)
    assert np.abs(masks_of(network, spectrogram) - expected).max() < 1e-5
    unfold_norms(network, run_mixtures)
    assert np.abs(masks_of(network, spectrogram) - expected).max() < 1e-4
    assert np.abs(expected - 0.5).max() > 0.1


def test_weights_get_their_usual_size_and_norms_the_statistics_of_their_inputs(onnx_model: OnnxModel) -> None:
    network = build_network(config().network, N_BINS).eval()
    initialise_from(onnx_model.path, network)
    unfold_norms(network, run_mixtures)
    outputs_of: dict[torch.nn.Module, list[torch.Tensor]] = {}
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            outputs_of[module] = []
            module.register_forward_hook(lambda norm, inputs, output: outputs_of[norm].append(output))
    with torch.inference_mode():
        run_mixtures(network)
    assert len(outputs_of) == 1 + 2 * 2 + 5 * 3  # of the stem; the steps down and up; and of each stage
    for norm, outputs in outputs_of.items():
        normal = ((torch.cat(outputs) - norm.bias[:, None, None]) / norm.weight[:, None, None]).detach()
        spread = normal.var((0, 2, 3), correction=0)
        assert normal.mean((0, 2, 3)).abs().max() < 1e-3
        assert spread.median() == pytest.approx(1, abs=1e-3)
        assert spread.max() < 1.001  # and some channels hardly ever change
    for sequence in (network.stem, network.middle[0].first, network.up[0], network.down[1]):
        sizes = torch.linalg.svdvals(sequence[0].weight.detach().flatten(1))
        assert sizes.square().mean().sqrt() == pytest.approx(USUAL_SIZE, rel=1e-4)


def test_batch_statistics_agree_with_the_unfolded_norms(onnx_model: OnnxModel) -> None:
    """Norms that are not unfolded are far from the statistics of a batch."""
    network = build_network(config().network, N_BINS)
    initialise_from(onnx_model.path, network.eval())
    batch = torch.randn(12, 2, 48, N_BINS, generator=torch.Generator().manual_seed(9))
    drift = []
    for _ in range(2):
        with torch.inference_mode():
            expected = network.eval().masks(batch)
            drift.append(float((network.train().masks(batch) - expected).square().mean().sqrt()))
        initialise_from(onnx_model.path, network)
        unfold_norms(network, run_mixtures)
    before, after = drift
    assert 20 * after < before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duetto", "mir1k"])
def test_models_that_ship_can_be_fine_tuned(name: str) -> None:
    onnx_model = OnnxModel(model_files()[name])
    metadata = onnx_model.metadata
    network = build_network(load_config(name).network, metadata.stft.n_bins).eval()
    initialise_from(onnx_model.path, network)
    spectrogram = probe_input(metadata, 40)
    assert np.abs(masks_of(network, spectrogram) - onnx_model.masks(spectrogram)).max() < 1e-4


def test_another_kind_of_network_is_refused() -> None:
    network = build_network(config().network, N_BINS)
    with pytest.raises(ModelError, match=r"drnn\.onnx: not a U-Net"):
        initialise_from(model_files()["drnn"], network)


def test_the_model_of_a_larger_network_is_refused(onnx_model: OnnxModel) -> None:
    with pytest.raises(ModelError, match=r"small\.onnx: cannot take these initial weights"):
        initialise_from(onnx_model.path, build_network(config(width=4).network, N_BINS))


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_damaged_model_file_is_named(onnx_model: OnnxModel, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "song.onnx"
    if damage == "cut":
        shutil.copy(onnx_model.path, path)
        path.write_bytes(path.read_bytes()[:-500])
    if damage == "text":
        path.write_text("no model at all")
    with pytest.raises(ModelError, match=r"song\.onnx: (cannot read the model file|damaged)"):
        initialise_from(path, build_network(config().network, N_BINS))
