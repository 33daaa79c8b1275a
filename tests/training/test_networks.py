"""The DRNN is the papers' equations, written out here as loops."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto.training.config import DRNNConfig, VPNNConfig
from duetto.training.networks import build_network
from duetto.training.networks.drnn import DRNN
from helpers.quick import at_most

N_BINS = 6
VARIANTS = {"DNN": (), "DRNN-1": (1,), "DRNN-2": (2,), "DRNN-3": (3,), "sRNN": (1, 2, 3)}


def build(n_bins: int = N_BINS, *, seed: int = 0, **settings: object) -> DRNN:
    torch.manual_seed(seed)
    network = build_network(DRNNConfig.model_validate({"hidden_size": 7, **settings}), n_bins)
    with torch.no_grad():  # fresh biases are 0; others show whether they are used
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.uniform_(-0.5, 0.5)
    return network


def magnitudes(rng: np.random.Generator, n_frames: int = 9, batch_size: int = 2) -> NDArray[np.float32]:
    return rng.uniform(0, 3, (batch_size, N_BINS, n_frames)).astype(np.float32)


def naive_activations(network: DRNN, magnitude: NDArray[np.float32]) -> NDArray[np.float64]:
    """[a_1; a_2] of one magnitude (n_bins, n_frames), frame by frame, in 64 bits."""
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    config, n_frames = network.config, magnitude.shape[1]
    side = config.context // 2
    before = [np.zeros(config.hidden_size) for _ in range(config.n_layers)]
    columns = []
    for t in range(n_frames):
        near = [magnitude[:, min(max(t + k, 0), n_frames - 1)] for k in range(-side, side + 1)]
        h = np.concatenate(near).astype(float)
        for layer in range(config.n_layers):
            prefix = f"layers.{layer}."
            if layer + 1 in config.recurrent_layers:
                z = weights[prefix + "weight_ih_l0"] @ h + weights[prefix + "weight_hh_l0"] @ before[layer]
                z = z + weights.get(prefix + "bias_ih_l0", 0) + weights.get(prefix + "bias_hh_l0", 0)
            else:
                z = weights[prefix + "weight"] @ h + weights.get(prefix + "bias", 0)
            h = before[layer] = np.maximum(z, 0)
        columns.append(weights["output.weight"] @ h + weights.get("output.bias", 0))
    return np.stack(columns, axis=1).reshape(config.n_outputs, -1, n_frames)


def check_against_loops(network: DRNN, magnitude: NDArray[np.float32]) -> None:
    expected = np.stack([naive_activations(network, one) for one in magnitude])
    with torch.inference_mode():
        found = network.activations(torch.from_numpy(magnitude)).numpy()
        estimates = network(torch.from_numpy(magnitude)).numpy()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5 * np.abs(expected).max())
    shares = {"absolute": np.abs, "squared": np.square, "linear": lambda a: a, "none": None}[
        network.config.joint_mask
    ]
    if shares is None:
        assert np.array_equal(estimates, found)
        return
    part = shares(found.astype(float))
    total = part.sum(1, keepdims=True)
    well = np.abs(total) > 1e-2 * np.abs(total).max()  # elsewhere the quotient is rounding
    expected = part / (total + 1e-10) * magnitude[:, None]
    both = np.broadcast_to(well, part.shape)
    assert well.mean() > 0.9
    assert estimates[both] == pytest.approx(expected[both], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("context", [1, 3, 5])
def test_every_variant_equals_the_equations(rng: np.random.Generator, variant: str, context: int) -> None:
    check_against_loops(build(recurrent_layers=VARIANTS[variant], context=context), magnitudes(rng))


@pytest.mark.parametrize("joint_mask", ["absolute", "squared", "linear", "none"])
@pytest.mark.parametrize("bias", [True, False])
def test_every_mask_layer_equals_the_equations(rng: np.random.Generator, joint_mask: str, bias: bool) -> None:
    network = build(joint_mask=joint_mask, bias=bias)
    assert any("bias" in name for name, _ in network.named_parameters()) == bias
    check_against_loops(network, magnitudes(rng))


def test_a_network_of_the_vocals_alone_leaves_the_rest_of_the_mixture(rng: np.random.Generator) -> None:
    network = build(n_outputs=1, joint_mask="none")
    magnitude = magnitudes(rng)
    magnitude[..., 2] = 0
    expected = np.stack([naive_activations(network, one)[:1] for one in magnitude])
    with torch.inference_mode():
        estimates = network(torch.from_numpy(magnitude)).numpy()
        masks = network.masks(torch.from_numpy(magnitude).transpose(1, 2)).transpose(2, 3).numpy()
    assert estimates == pytest.approx(expected, abs=1e-5)
    loud = magnitude > 0.01
    share = np.minimum(np.abs(expected[:, 0]) / np.maximum(magnitude, 1e-9), 1)
    assert masks[:, 0][loud] == pytest.approx(share[loud], abs=1e-3)
    assert 0.1 < (share[loud] < 1).mean() < 0.9
    assert np.isfinite(masks).all()
    assert masks.min() >= 0
    assert masks.sum(1) == pytest.approx(1)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_an_input_shorter_than_the_context_repeats_its_edges(rng: np.random.Generator, n_frames: int) -> None:
    check_against_loops(build(context=5), magnitudes(rng, n_frames))


def test_the_default_is_the_papers_size() -> None:
    network = build_network(DRNNConfig(), 513)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    hidden = 1000 * 1000
    layers = (3 * 513 * 1000 + 1000) + (2 * hidden + 2 * 1000) + (hidden + 1000)
    assert n_parameters == layers + (1000 * 1026 + 1026) == 5_570_026


def test_initial_weights_fill_the_stated_bounds() -> None:
    n_bins, n_units = 60, 200
    torch.manual_seed(0)
    network = build_network(DRNNConfig(hidden_size=n_units), n_bins)
    fans = {
        "layers.0.weight": 3 * n_bins + n_units,
        "layers.1.weight_ih_l0": n_units + 2 * n_units,
        "layers.1.weight_hh_l0": 3 * n_units,
        "layers.2.weight": 2 * n_units,
        "output.weight": n_units + 2 * n_bins,
    }
    for name, parameter in network.state_dict().items():
        if "bias" in name:
            assert torch.count_nonzero(parameter) == 0
        else:
            bound = (6 / fans.pop(name)) ** 0.5
            assert 0.99 * bound < parameter.abs().max() <= bound
            assert float(parameter.std()) == pytest.approx(bound / 3**0.5, rel=0.02)  # uniform
    assert not fans


@pytest.mark.parametrize("joint_mask", ["absolute", "squared", "linear", "none"])
def test_masks_lie_in_0_to_1_and_sum_to_1(rng: np.random.Generator, joint_mask: str) -> None:
    network = build(joint_mask=joint_mask)
    with torch.inference_mode():
        masks = network.masks(torch.from_numpy(magnitudes(rng, 200)).transpose(1, 2)).transpose(2, 3)
    assert masks.shape == (2, 2, N_BINS, 200)
    assert 0 <= masks.min() < 0.1
    assert 0.9 < masks.max() <= 1
    assert torch.allclose(masks.sum(1), torch.ones(()), atol=1e-6)


def test_estimates_of_a_mask_layer_sum_to_the_mixture(rng: np.random.Generator) -> None:
    mixture = torch.from_numpy(magnitudes(rng))
    assert torch.allclose(build()(mixture).sum(1), mixture, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("context", [1, 3, 5])
def test_no_frame_sees_further_ahead_than_half_the_context(
    rng: np.random.Generator, variant: str, context: int
) -> None:
    network = build(recurrent_layers=VARIANTS[variant], context=context)
    first = magnitudes(rng, 12)
    second = first.copy()
    second[..., 8] += 1
    with torch.inference_mode():
        one, other = (network.activations(torch.from_numpy(x)).numpy() for x in (first, second))
    changed = np.flatnonzero(np.abs(one - other).max((0, 1, 2)) > 1e-6)
    assert changed[0] == 8 - context // 2
    assert VARIANTS[variant] or changed[-1] == 8 + context // 2


def test_one_seed_gives_one_network() -> None:
    one, same, other = (build(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])


@at_most(12)
@given(
    config=st.sampled_from(
        [
            *(
                DRNNConfig(hidden_size=7, context=c, recurrent_layers=r)
                for c in (1, 3, 5)
                for r in [(), (1, 3)]
            ),
            VPNNConfig(hidden_size=4, vectors="window"),
            VPNNConfig(hidden_size=4, vectors="colour"),
        ]
    ),
    lengths=st.lists(st.integers(1, 5), max_size=6),
)
def test_chunks_give_the_masks_of_the_whole(config: DRNNConfig | VPNNConfig, lengths: list[int]) -> None:
    """Those of one pass with its edge frames repeated, as in training."""
    network = build_network(config, N_BINS)
    edges = np.cumsum([0, network.first_frames, *lengths])
    x = torch.rand(2, int(edges[-1]), N_BINS, generator=torch.Generator().manual_seed(0))
    masks, state = [], network.empty_state(2)
    with torch.inference_mode():
        for start, stop in pairwise(edges):
            found, state = network.step(x[:, start:stop], state, torch.tensor(int(stop == edges[-1])))
            masks.append(found)
        expected = network(x.transpose(1, 2)).transpose(2, 3) / x[:, None]
    assert sum(found.shape[2] for found in masks[:-1]) == max(0, int(edges[-2]) - config.look_ahead)
    torch.testing.assert_close(torch.cat(masks, 2), expected, rtol=1e-4, atol=1e-5)
