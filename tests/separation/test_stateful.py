"""Stateful models: the chunks of a song together are one pass over the whole."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto import Separator
from duetto.audio import load_audio
from duetto.cli.separate import EXAMPLE
from duetto.errors import ModelError
from duetto.models.onnx_model import OnnxModel
from duetto.training.checkpoint import load_weights, save_weights
from duetto.training.config import UNetConfig
from duetto.training.config_io import parse_config
from duetto.training.exporter import export
from duetto.training.networks import build_network
from duetto.training.networks.unet import UNet
from duetto.training.torch_model import TorchModel
from helpers.quick import at_most, first
from helpers.signals import decibels, noise, tone
from helpers.streams import cut, lags, streamed

RATE = 8000
WHOLE = 1000.0  # seconds; no song here is longer
N_BINS = 65
CONFIG = parse_config(
    {
        "name": "small",
        "stft": {"n_fft": 128, "hop_length": 64, "window": "hann"},
        "network": {"kind": "unet", "n_sub_bands": 4, "width": 6, "n_levels": 2, "n_blocks": [1, 2]},
        "loss": {"kind": "l1", "discrimination": 0.0},
        "data": {"sample_rate": RATE},
    }
)


def trained(network: UNet) -> UNet:
    """As after some training, so that no part of it is nothing."""
    generator = torch.Generator().manual_seed(0)
    for name, held in network.state_dict().items():
        if held.is_floating_point():
            spread = 0.1 if held.ndim < 2 else (1 / held[0].numel()) ** 0.5
            noise = (
                torch.rand(held.shape, generator=generator)
                if "var" in name
                else torch.randn(held.shape, generator=generator)
            )
            held.add_(spread * noise)
    return network.eval()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    network = build_network(CONFIG.network, N_BINS)
    assert isinstance(network, UNet)
    save_weights(folder / "weights", trained(network))
    return export(CONFIG, folder / "weights", folder / "small.onnx", bits=32).path


@pytest.mark.slow
@at_most(12)
@given(
    n_levels=st.integers(1, 4),
    n_blocks=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    n_channels=st.integers(1, 2),
    more=st.integers(0, 3),
    pieces=st.lists(st.integers(1, 5), max_size=6),
    n_last=st.integers(1, 40),
)
def test_a_unet_gives_the_same_masks_in_chunks(n_levels, n_blocks, n_channels, more, pieces, n_last):
    config = UNetConfig(
        n_levels=n_levels, n_blocks=tuple(n_blocks), n_channels=n_channels, n_sub_bands=2, width=4, growth=2
    )
    network, grid = trained(UNet(config, N_BINS)), config.frame_grid
    first = network.first_frames + grid * more
    edges = np.cumsum([0, first, *(grid * n for n in pieces), n_last])
    planes = torch.randn(
        2, 2 * n_channels, int(edges[-1]), N_BINS, generator=torch.Generator().manual_seed(1)
    )
    state, masks = network.empty_state(2), []
    with torch.inference_mode():
        for start, stop in pairwise(edges):
            is_last = torch.tensor(int(stop == edges[-1]))
            next_masks, state = network.step(planes[:, :, start:stop], state, is_last)
            masks.append(next_masks)
        whole = network.masks(planes)
    assert masks[0].shape[2] == first - config.look_ahead
    torch.testing.assert_close(torch.cat(masks, 2), whole, rtol=0, atol=1e-4 * float(whole.abs().max()))


def test_masks_do_depend_on_frames_as_far_as_they_wait_for() -> None:
    """Else the chunks wait too long; roundings to whole steps of every level may add a little."""
    assert isinstance(CONFIG.network, UNetConfig)
    network = trained(UNet(CONFIG.network, N_BINS))
    planes = torch.randn(1, 2, 120, N_BINS, generator=torch.Generator().manual_seed(2)).requires_grad_()
    network.masks(planes)[0, 0, 60].sum().backward()
    assert planes.grad is not None
    (seen,) = planes.grad.abs().sum((0, 1, 3)).nonzero(as_tuple=True)
    later = int(seen.max()) - 60
    assert CONFIG.network.look_ahead - 8 <= later <= CONFIG.network.look_ahead


@at_most(8)
@given(
    n_samples=st.integers(1, 60_000),
    n_channels=st.sampled_from([1, 2, 3]),
    rate=st.sampled_from([8000, 16000, 44100]),
    seconds=st.floats(0.1, 3),
    n_passes=st.sampled_from([1, 1, 2, 3]),
    ends=st.lists(st.integers(0, 60_000), max_size=5),
)
def test_a_song_in_chunks_has_the_stems_of_one_pass(
    path, n_samples, n_channels, rate, seconds, n_passes, ends
):
    audio = noise(n_channels, n_samples)
    options = {"n_passes": n_passes, "overlap_seconds": 0.01}
    whole = Separator(path, segment_seconds=WHOLE, **options).separate(audio, rate)
    separator = Separator(path, segment_seconds=seconds, **options)
    found = separator.separate(audio, rate)
    assert all(stem.shape == audio.shape and stem.dtype == np.float32 for stem in found.values())
    assert decibels(found["vocals"] - whole["vocals"], audio) < -100
    lengths = [
        stop - start for start, stop in pairwise(sorted({0, n_samples, *(min(e, n_samples) for e in ends)}))
    ]
    in_blocks = streamed(separator, cut(audio, lengths), rate)
    assert in_blocks["vocals"].tobytes() == found["vocals"].tobytes()
    loudest = max(np.abs(stem).max() for stem in in_blocks.values())  # random masks are not bounded by 1
    np.testing.assert_allclose(sum(in_blocks.values()), audio, atol=1e-6 * max(1, loudest))


def test_it_is_one_pass_of_the_network(path: Path) -> None:
    """What `masks` says of the whole, by the transform's own inverse."""
    audio, stft = noise(1, 30_000), OnnxModel(path).metadata.stft
    spectrogram = stft.forward(audio)
    masks = OnnxModel(path).masks(spectrogram[None])[0]
    expected = stft.inverse(spectrogram * masks, audio.shape[-1])
    found = Separator(path, segment_seconds=0.7, overlap_seconds=0.1).separate(audio, RATE)["vocals"]
    assert decibels(found - expected, audio) < -100


def test_a_network_in_training_is_stateful_as_its_model_file_is(path: Path) -> None:
    network = build_network(CONFIG.network, N_BINS)
    assert isinstance(network, UNet)
    load_weights(path.parent / "weights", network)
    audio = noise(2, 40_000)
    options = {"segment_seconds": 0.8, "overlap_seconds": 0.1}
    trainer = Separator(TorchModel(CONFIG, network.eval()), **options)
    assert trainer.metadata.first_frames == network.first_frames
    vocals = trainer.separate(audio, RATE)["vocals"]
    assert decibels(vocals - Separator(path, **options).separate(audio, RATE)["vocals"], audio) < -80


@pytest.mark.parametrize("n_threads", first(1, 2, 1, 3))
def test_threads_change_next_to_nothing(path: Path, n_threads: int) -> None:
    audio = noise(2, 40_000)
    vocals = [
        Separator(path, n_threads=n, segment_seconds=1, overlap_seconds=0.1).separate(audio, RATE)["vocals"]
        for n in (None, n_threads)
    ]
    assert decibels(vocals[1] - vocals[0], audio) < -100


def test_a_stream_lags_as_it_says(path: Path) -> None:
    separator = Separator(path, segment_seconds=1, overlap_seconds=0.1)
    stated = separator.latency_seconds(RATE) * RATE
    look_ahead = CONFIG.network.look_ahead * 64
    assert stated == pytest.approx(RATE + look_ahead + 128, abs=8 * 64)  # chunks of whole steps
    assert stated - 161 <= max(lags(separator, RATE, 80, 800)) <= stated


def test_griffin_lim_takes_segments(path: Path) -> None:
    """It has to see what follows."""
    separator = Separator(path, griffin_lim_iterations=1, segment_seconds=1, overlap_seconds=0.25)
    assert separator.latency_seconds(RATE) == pytest.approx(1, abs=0.05)
    audio = noise(1, 20_000)
    stems = separator.separate(audio, RATE)
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], audio, atol=1e-6)


@pytest.mark.slow
def test_a_graph_that_forgets_is_refused(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole sequences are right, its chunks are not."""

    def forgetful(self: UNet, x, state, is_last):
        masks, after = step(self, x, state, is_last)
        return masks, [0 * maps for maps in after]

    step = UNet.step
    monkeypatch.setattr(UNet, "step", forgetful)
    with pytest.raises(ModelError, match="differs from the network"):
        export(CONFIG, path.parent / "weights", tmp_path / "small.onnx", bits=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["drnn", "duetto", "mir1k"])
def test_the_models_that_ship_leave_no_trace_of_chunks(model: str) -> None:
    """The example song, and a sustained tone."""
    audio, rate = load_audio(EXAMPLE)
    song = np.concatenate([audio, audio[:, ::-1]], axis=-1)[:, : 20 * rate]
    for waveform, rate_ in ((song, rate), (tone(440, 20, 16000), 16000)):
        whole, in_chunks = (
            Separator(model, n_passes=2 if model == "mir1k" else 1, segment_seconds=seconds).separate(
                waveform, rate_
            )["vocals"]
            for seconds in (WHOLE, 8.9)
        )
        assert decibels(in_chunks - whole, waveform) < -100


@pytest.mark.slow
def test_a_real_song_has_no_trace_of_chunks(shared: Path) -> None:
    music, rate = load_audio(shared / "data/instrumental/lincity-ng-001.opus")
    voice = np.concatenate(
        [load_audio(shared / f"data/vocals/vocadito-00{k}.opus")[0] for k in (1, 2)], axis=1
    ).mean(axis=0)[: 40 * rate]
    music: NDArray[np.float32] = music[:, : voice.size]
    song = voice * np.std(music) / np.std(voice) + music
    whole = Separator(segment_seconds=WHOLE).separate(song, rate)["vocals"]
    assert decibels(Separator().separate(song, rate)["vocals"] - whole, song) < -100
