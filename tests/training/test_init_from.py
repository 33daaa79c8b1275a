"""Training begins with a bundle: the same masks, weights of their usual size, norms that fit the mixtures."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duetto import list_bundles
from duetto.errors import ModelError
from duetto.models.onnx_model import Bundle, from_planes, probe_spectrogram, to_planes
from duetto.training.checkpoint import load_start, save_weights
from duetto.training.config import Config
from duetto.training.config_io import parse_config
from duetto.training.exporter import export
from duetto.training.init_from import USUAL_SIZE, take_norms_apart
from duetto.training.networks import Network, build_network

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


@pytest.fixture(params=[8, 16, 32], scope="module")
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    save_weights(folder / "weights", trained(config()))
    return export(config(), folder / "weights", folder / "small.onnx", bits=request.param)


def masks_of(network: Network, spectrogram: NDArray[np.complex64]) -> NDArray[np.complex64]:
    with torch.inference_mode():
        return from_planes(network.masks(torch.from_numpy(to_planes(spectrogram))).numpy())


def hear_something(network: torch.nn.Module) -> None:
    for seed in range(4):
        network.masks(torch.randn(3, 2, 24, N_BINS, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("larger", [{}, {"growth": 40}])
def test_a_network_begins_as_the_bundle_does(bundle: Bundle, larger: dict[str, Any]) -> None:
    settings = config(**larger)
    network = build_network(settings.network, N_BINS).eval()
    spectrogram = probe_spectrogram(1, N_BINS, 29)
    expected = bundle.masks(spectrogram)
    load_start(bundle.path, network)
    assert np.abs(masks_of(network, spectrogram) - expected).max() < 1e-5
    take_norms_apart(network, hear_something)
    assert np.abs(masks_of(network, spectrogram) - expected).max() < 1e-4
    assert np.abs(expected - 0.5).max() > 0.1


def test_weights_get_their_usual_size_and_norms_what_they_hear(bundle: Bundle) -> None:
    network = build_network(config().network, N_BINS).eval()
    load_start(bundle.path, network)
    take_norms_apart(network, hear_something)
    heard: dict[torch.nn.Module, list[torch.Tensor]] = {}
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            heard[module] = []
            module.register_forward_hook(lambda norm, inputs, output: heard[norm].append(output))
    with torch.inference_mode():
        hear_something(network)
    assert len(heard) == 1 + 2 * 2 + 5 * 3  # of the stem; the steps down and up; and of each stage
    for norm, outputs in heard.items():
        normal = ((torch.cat(outputs) - norm.bias[:, None, None]) / norm.weight[:, None, None]).detach()
        spread = normal.var((0, 2, 3), correction=0)
        assert normal.mean((0, 2, 3)).abs().max() < 1e-3
        assert spread.median() == pytest.approx(1, abs=1e-3)
        assert spread.max() < 1.001  # and some channels hardly ever change
    for sequence in (network.stem, network.middle[0].first, network.up[0], network.down[1]):
        sizes = torch.linalg.svdvals(sequence[0].weight.detach().flatten(1))
        assert sizes.square().mean().sqrt() == pytest.approx(USUAL_SIZE, rel=1e-4)


def test_training_sees_what_the_bundle_gave(bundle: Bundle) -> None:
    """Once its norms are taken apart: as they come they are far from what a batch gives."""
    network = build_network(config().network, N_BINS)
    load_start(bundle.path, network.eval())
    batch = torch.randn(12, 2, 48, N_BINS, generator=torch.Generator().manual_seed(9))
    drift = []
    for _ in range(2):
        with torch.inference_mode():
            expected = network.eval().masks(batch)
            drift.append(float((network.train().masks(batch) - expected).square().mean().sqrt()))
        load_start(bundle.path, network)
        take_norms_apart(network, hear_something)
    before, after = drift
    assert 20 * after < before


@pytest.mark.parametrize("name", ["duetto", "mir1k"])
def test_what_ships_can_be_trained_on(name: str) -> None:
    bundle = Bundle(list_bundles()[name])
    settings, metadata = parse_config(bundle.metadata.recipe), bundle.metadata
    network = build_network(settings.network, metadata.stft.n_bins).eval()
    load_start(bundle.path, network)
    spectrogram = probe_spectrogram(metadata.n_channels, metadata.stft.n_bins, 40)
    assert np.abs(masks_of(network, spectrogram) - bundle.masks(spectrogram)).max() < 1e-4


def test_another_kind_of_network_is_no_start() -> None:
    network = build_network(config().network, N_BINS)
    with pytest.raises(ModelError, match=r"drnn\.onnx: no U-Net"):
        load_start(list_bundles()["drnn"], network)


def test_the_bundle_of_a_larger_network_is_no_start(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"small\.onnx: cannot begin with these weights"):
        load_start(bundle.path, build_network(config(width=4).network, N_BINS))


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_damaged_bundle_is_named(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "song.onnx"
    if damage == "cut":
        shutil.copy(bundle.path, path)
        path.write_bytes(path.read_bytes()[:-500])
    if damage == "text":
        path.write_text("no bundle at all")
    with pytest.raises(ModelError, match=r"song\.onnx: (cannot read the bundle|damaged)"):
        load_start(path, build_network(config().network, N_BINS))
