"""The U-Net: where its inputs lie, what its masks depend on, and that all of it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duetto.dsp.stft import STFT
from duetto.errors import ConfigError
from duetto.models.onnx_model import from_planes, to_planes
from duetto.training.checkpoint import save_weights
from duetto.training.config import Config, UNetConfig
from duetto.training.config_io import parse_config
from duetto.training.init_from import initialise_from
from duetto.training.networks import build_network
from duetto.training.networks.unet import UNet
from duetto.training.torch_stft import stft_forward
from helpers.quick import at_most

N_BINS = 33
SMALL = {"n_sub_bands": 4, "width": 5, "growth": 3, "n_levels": 2, "least_frequencies": 2}


def build(**changes: int) -> UNet:
    torch.manual_seed(0)
    network = build_network(UNetConfig.model_validate({**SMALL, **changes}), N_BINS)
    assert isinstance(network, UNet)
    return network


def trained(**changes: int) -> UNet:
    """Random weights where fresh ones are 0 and statistics as of other batches, in eval mode."""
    network, chance = build(**changes), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1 or not weight.any():
                weight.copy_(0.3 * torch.randn(weight.shape, generator=chance) + (0.5 if weight.any() else 0))
        for name, held in network.named_buffers():
            if held.is_floating_point():
                held.copy_(torch.rand(held.shape, generator=chance) * 0.5 + (0.5 if "var" in name else -0.25))
    return network.eval()


def spectrogram(n_frames: int, *, batch_size: int = 2, n_channels: int = 1, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    shape = (batch_size, n_channels, N_BINS, n_frames)
    return torch.randn(shape, generator=chance, dtype=torch.complex64)


def planes(x: Tensor) -> Tensor:
    return torch.from_numpy(to_planes(x.transpose(2, 3).numpy()))


def masks(network: UNet, x: Tensor) -> Tensor:
    """Complex, of the shape of the spectrogram."""
    with torch.inference_mode():
        return torch.from_numpy(from_planes(network.masks(planes(x)).numpy())).transpose(2, 3)


# --- layout


@pytest.mark.parametrize("n_channels", [1, 2])
def test_sub_bands_lie_over_one_another_as_channels(n_channels: int) -> None:
    """Bin j of band k of part p (real, imaginary) of channel c is at map 8 c + 4 p + k, position j."""
    network, n_sub_bands, n_positions, n_frames = build(n_channels=n_channels), 4, 8, 3
    x = spectrogram(n_frames, n_channels=n_channels)
    maps = network._fold(planes(x))
    assert maps.shape == (2, n_channels * 2 * n_sub_bands, n_frames, n_positions)
    for c, p, k, j in np.ndindex(n_channels, 2, n_sub_bands, n_positions):
        found = maps[:, (c * 2 + p) * n_sub_bands + k, :, j]
        assert torch.equal(found, torch.view_as_real(x)[:, c, k * n_positions + j, :, p])


@given(
    n_channels=st.sampled_from([1, 2]),
    n_sub_bands=st.sampled_from([1, 2, 4, 8]),
    n_frames=st.integers(1, 9),
    batch_size=st.integers(1, 3),
)
@at_most(25)
def test_unfolding_takes_folding_back(
    n_channels: int, n_sub_bands: int, n_frames: int, batch_size: int
) -> None:
    network = build(n_channels=n_channels, n_sub_bands=n_sub_bands, n_levels=1, width=1, growth=0)
    maps = planes(spectrogram(n_frames, batch_size=batch_size, n_channels=n_channels))
    assert torch.equal(network._unfold(network._fold(maps)), maps[..., :-1])


# --- masks


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 7, 8, 21])
def test_masks_have_the_inputs_shape_and_are_finite_on_silence(n_channels: int, n_frames: int) -> None:
    network = trained(n_channels=n_channels)
    x = spectrogram(n_frames, n_channels=n_channels)
    for input_ in (x, torch.zeros_like(x)):
        found = masks(network, input_)
        assert found.shape == (2, n_channels, N_BINS, n_frames)
        assert torch.isfinite(torch.view_as_real(found)).all()
    expected = x * masks(network, x)
    with torch.inference_mode():
        assert torch.allclose(network(x), expected)


def test_cross_masks_add_the_product_with_the_other_channel() -> None:
    network, x = trained(n_channels=2, cross_masks=True), spectrogram(9, n_channels=2)
    found = masks(network, x)
    assert found.shape == (2, 4, N_BINS, 9)
    (mid, side), (own_mid, own_side, side_in_mid, mid_in_side) = x.unbind(1), found.unbind(1)
    expected = torch.stack([mid * own_mid + side * side_in_mid, side * own_side + mid * mid_in_side], 1)
    with torch.inference_mode():
        assert torch.allclose(network(x), expected, atol=1e-6)


def test_cross_masks_begin_as_nothing_in_a_network_that_is_initialised_without(tmp_path: Path) -> None:
    smaller, larger = trained(n_channels=2), trained(n_channels=2, cross_masks=True)
    save_weights(tmp_path / "smaller.safetensors", smaller)
    initialise_from(tmp_path / "smaller.safetensors", larger)
    x = spectrogram(9, n_channels=2)
    assert torch.equal(masks(larger, x)[:, :2], masks(smaller, x))
    assert larger.head[2].weight.shape[0] == 2 * smaller.head[2].weight.shape[0]


def test_cross_masks_need_two_channels() -> None:
    with pytest.raises(ConfigError, match="cross_masks need n_channels=2"):
        config(1920, cross_masks=True)


@pytest.mark.parametrize("cross_masks", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_before_training_the_masks_are_equal(training: bool, cross_masks: bool) -> None:
    network = build(n_channels=2, cross_masks=cross_masks).train(training)
    x = spectrogram(6, n_channels=2)
    found = masks(network, x)
    assert torch.equal(found[:, :2], torch.full(x.shape, 0.5 + 0j))
    assert not found[:, 2:].any()
    with torch.inference_mode():
        assert torch.equal(network(x), x / 2)


def test_masks_do_not_depend_on_the_other_songs_of_a_batch() -> None:
    network, x = trained(), spectrogram(9, batch_size=3)
    together = masks(network, x)
    for song in range(3):
        assert torch.allclose(masks(network, x[song : song + 1])[0], together[song], atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.05


@pytest.mark.parametrize(("n_levels", "n_blocks"), [(1, 1), (2, 1), (1, 2)])
def test_a_mask_depends_on_near_frames_alone(n_levels: int, n_blocks: int) -> None:
    """On one frame in each 3 x 3 convolution of a level, each of which is 2^level frames, and their grid."""
    network = trained(n_levels=n_levels, n_blocks=(n_blocks,))
    reach = 1 + 2 * n_blocks * (sum(2 * 2**level for level in range(n_levels)) + 2**n_levels)
    reach += sum(2**level for level in range(n_levels))
    x = spectrogram(140, batch_size=1)
    other = x.clone()
    other[..., 70] *= 3
    changed = (masks(network, x) - masks(network, other)).abs().amax((0, 1, 2))
    beyond = (torch.arange(140) - 70).abs() > reach
    assert changed[beyond].max() < 1e-6
    assert changed[~beyond].max() > 0.01
    assert (changed[72:] > 1e-5).any()
    assert (changed[:69] > 1e-5).any()


@pytest.mark.slow
def test_frames_after_the_end_are_silence() -> None:
    """The frames that fill a grid of 2^n_levels are what silence would be."""
    network, x = trained(), spectrogram(9)
    longer = torch.cat([x, torch.zeros(2, 1, N_BINS, 3)], dim=3)
    assert torch.allclose(masks(network, x), masks(network, longer)[:, :, :, :9], atol=1e-6)


def test_every_frequency_reaches_every_other() -> None:
    network, x = trained(), spectrogram(4, batch_size=1)
    other = x.clone()
    other[:, :, 0] += 5
    changed = (masks(network, x) - masks(network, other)).abs().amax((0, 1, 3))
    assert (changed > 0).all()
    assert torch.equal(masks(network, x)[:, :, -1], masks(network, x)[:, :, -2])  # the top bin is no input


# --- learning


def learn(network: UNet, n_steps: int, *, rounded: bool = False) -> list[float]:
    """Losses of learning to keep the lower half of the spectrum."""
    x = spectrogram(8)
    wanted = x.clone()
    wanted[:, :, N_BINS // 2 :] = 0
    stepper, losses = torch.optim.AdamW(network.parameters(), 1e-2), []
    for _ in range(n_steps):
        stepper.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            loss = (network(x) - wanted).abs().mean()
        loss.backward()
        stepper.step()
        losses.append(float(loss.detach()))
    return losses


def test_gradients_reach_every_weight_once_none_is_zero() -> None:
    """Three layers in a row begin with 0: the mask's, a residual's, a stage's across frequencies."""
    network = build(n_channels=1)
    learn(network, 4)
    unreached = [name for name, weight in network.named_parameters() if not weight.grad.any()]
    assert not unreached


def test_it_learns_which_frequencies_to_keep() -> None:
    losses = learn(build(), 30)
    assert losses[-1] < 0.3 * losses[0]


def test_it_learns_under_autocast_as_without() -> None:
    rounded, exact = learn(build(), 6, rounded=True), learn(build(), 6)
    assert rounded == pytest.approx(exact, rel=0.05)
    assert rounded != exact
    assert exact[-1] < 0.9 * exact[0]


# --- settings


@pytest.mark.parametrize(
    ("n_fft", "network"),
    [(1024, {}), (640, {"n_sub_bands": 3}), (64, {"n_sub_bands": 2, "n_levels": 5}), (1920, {"n_levels": 6})],
)
def test_a_transform_that_cannot_be_divided_is_refused(n_fft: int, network: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as caught:
        config(n_fft, **network)
    held = UNetConfig.model_validate(network)
    for said in (f"stft.n_fft={n_fft}", f"n_sub_bands={held.n_sub_bands}", f"n_levels={held.n_levels}"):
        assert said in str(caught.value)


def config(n_fft: int, **network: int) -> Config:
    return parse_config(
        {
            "stft": {"n_fft": n_fft, "hop_length": n_fft // 4, "window": "hann"},
            "network": {"kind": "unet", **network},
            "loss": {"kind": "l1"},
        }
    )


@pytest.mark.parametrize(
    ("n_fft", "network"), [(640, {"n_sub_bands": 5}), (96, {"n_sub_bands": 3, "n_levels": 4}), (1920, {})]
)
def test_a_transform_that_can_be_divided_gives_a_network(n_fft: int, network: dict[str, int]) -> None:
    held = config(n_fft, width=2, growth=0, **network)
    stft = STFT(n_fft=n_fft, hop_length=n_fft // 4, window="hann")
    x = stft_forward(stft, torch.randn(1, 1, 3 * n_fft))
    found = build_network(held.network, stft.n_bins).eval()(x)
    assert torch.allclose(found, x / 2)


@pytest.mark.parametrize(
    ("network", "loss"),
    [("unet", "mse"), ("unet", "kl"), ("drnn", "l1"), ("vpnn", "l1"), ("drnn", "sdr"), ("vpnn", "sdr")],
)
def test_a_loss_is_for_the_input_of_the_network(network: str, loss: str) -> None:
    values = {
        "network": {"kind": network},
        "loss": {"kind": loss},
        "stft": {"n_fft": 1920, "hop_length": 480},
    }
    with pytest.raises(ConfigError, match=f'loss.kind="{loss}" is not for network.kind="{network}"'):
        parse_config(values)


def test_three_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"network\.n_channels = 3: Input should be 1 or 2"):
        config(1920, n_channels=3)
