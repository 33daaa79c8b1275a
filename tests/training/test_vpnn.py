"""The vector product network is the papers' equations, written out here with `numpy.cross`."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto.training.config import VPNNConfig
from duetto.training.networks import build_network
from duetto.training.networks.vpnn import DARK, VPNN, VectorProductLinear, brightness, colours

N_BINS = 5
KINDS = ("window", "colour")


def layer(n_inputs: int, n_outputs: int, *, seed: int = 0) -> VectorProductLinear:
    torch.manual_seed(seed)
    made = VectorProductLinear(n_inputs, n_outputs).double()
    torch.nn.init.uniform_(made.bias, -0.5, 0.5)
    return made


def naive_layer(weight: NDArray[Any], bias: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
    """z_i = sum_j w_ij x a_j + b_i of vectors (3, n_inputs), one cross product at a time."""
    outputs = bias.astype(float).copy()
    for i in range(weight.shape[1]):
        for j in range(weight.shape[2]):
            outputs[:, i] += np.cross(weight[:, i, j], vectors[:, j])
    return outputs


def test_a_layer_is_a_sum_of_cross_products(rng: np.random.Generator) -> None:
    made = layer(4, 3)
    vectors = rng.normal(size=(3, 2, 6, 4))
    found = made(torch.from_numpy(vectors)).detach().numpy()
    weight, bias = made.weight.detach().numpy(), made.bias.detach().numpy()
    assert found.shape == (3, 2, 6, 3)
    for batch in range(2):
        for frame in range(6):
            expected = naive_layer(weight, bias, vectors[:, batch, frame])
            np.testing.assert_allclose(found[:, batch, frame], expected, atol=1e-13)


def test_gradients_are_those_of_finite_differences(rng: np.random.Generator) -> None:
    made = layer(3, 4)
    vectors = torch.from_numpy(rng.normal(size=(3, 2, 3))).requires_grad_()
    direction = torch.from_numpy(rng.normal(size=3))

    def outputs(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        values = {"weight": weight, "bias": bias}
        whole = torch.func.functional_call(made, values, (vectors,))
        return whole, torch.func.functional_call(_Reads(made), _inner(values), (vectors, direction))

    assert torch.autograd.gradcheck(outputs, (vectors, made.weight, made.bias))


class _Reads(torch.nn.Module):
    def __init__(self, inner: VectorProductLinear) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, vectors: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        return self.inner.read(vectors, direction)


def _inner(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"inner.{name}": value for name, value in values.items()}


def test_what_is_read_is_the_outputs_component_in_that_direction(rng: np.random.Generator) -> None:
    made = layer(4, 3)
    vectors = torch.from_numpy(rng.normal(size=(3, 7, 4)))
    direction = torch.from_numpy(rng.normal(size=3))
    expected = torch.tensordot(direction, made(vectors), dims=1)
    assert torch.allclose(made.read(vectors, direction), expected, atol=1e-13)


def test_turning_every_vector_turns_the_outputs(rng: np.random.Generator) -> None:
    """The cross product knows no axes: R w x R a = R (w x a) for every rotation R, and no mirror image."""
    made, turned = layer(4, 3), layer(4, 3)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    turn = torch.from_numpy(rotation)
    vectors = torch.from_numpy(rng.normal(size=(3, 7, 4)))
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(turned, name).copy_(torch.tensordot(turn, getattr(made, name), dims=1))
        expected = torch.tensordot(turn, made(vectors), dims=1)
        assert torch.allclose(turned(torch.tensordot(turn, vectors, dims=1)), expected, atol=1e-13)
        turned.weight.neg_()
        turned.bias.neg_()  # a point reflection keeps w x a and turns b alone
        mirrored = turned(-torch.tensordot(turn, vectors, dims=1))
        assert not torch.allclose(mirrored, -expected, atol=1e-3)


def test_parallel_vectors_have_no_product() -> None:
    made = layer(1, 1)
    with torch.no_grad():
        made.bias.zero_()
        assert torch.allclose(made(2.5 * made.weight[:, 0]), torch.zeros(3, 1).double(), atol=1e-15)


def test_the_colours_of_known_numbers() -> None:
    numbers = [-1.0, 0.0, DARK / 2, DARK, 1.5 * DARK, 2 * DARK, DARK + 0.5, 1.0, 7.0]
    expected = [[0, 0, 0.5, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0.5, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0.5, 1, 1]]
    np.testing.assert_allclose(colours(torch.tensor(numbers, dtype=torch.float64)), expected, atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_colour_reads_as_the_number_that_it_was_made_of(numbers: list[float]) -> None:
    numbers_ = torch.tensor(numbers, dtype=torch.float64)
    colour = colours(numbers_)
    assert colour.min() >= 0
    assert colour.max() <= 1
    assert torch.allclose(brightness(colour), numbers_, rtol=0, atol=4e-16)


def build(vectors: str, **settings: Any) -> VPNN:
    torch.manual_seed(1)
    config = VPNNConfig.model_validate(
        {"vectors": vectors, "hidden_size": 4, "n_layers": 2, "brightest": 3.0, **settings}
    )
    network = build_network(config, N_BINS)
    assert isinstance(network, VPNN)
    for name, parameter in network.named_parameters():
        if "bias" in name:
            torch.nn.init.uniform_(parameter, -0.5, 0.5)
    return network


def naive_activations(network: VPNN, magnitude: NDArray[np.float32]) -> NDArray[np.float64]:
    """What is read of the outputs for one magnitude (n_bins, n_frames), frame by frame."""
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    n_frames, columns = magnitude.shape[1], []
    squash = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
    for t in range(n_frames):
        if network.config.vectors == "window":
            a = np.stack([magnitude[:, min(max(t + k, 0), n_frames - 1)] for k in (-1, 0, 1)]).astype(float)
        else:
            x = magnitude[:, t] / network.config.brightest
            rising = [x / 0.0938, (x - 0.0938) / 0.0938, (x - 0.1876) / 0.8124]
            a = np.stack([np.maximum(np.minimum(part, 1), 0) for part in rising])
        for k in range(network.config.n_layers):
            a = naive_layer(weights[f"layers.{k}.weight"], weights[f"layers.{k}.bias"], a)
            a = squash[network.config.activation](a)
        r, g, b = naive_layer(weights["output.weight"], weights["output.bias"], a)
        columns.append(g if network.config.vectors == "window" else 0.0938 * (r + g) + 0.8124 * b)
    return np.stack(columns, axis=1).reshape(2, -1, n_frames)


@pytest.mark.slow
@pytest.mark.parametrize("vectors", KINDS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_a_network_equals_the_equations(
    rng: np.random.Generator, vectors: str, activation: str, n_frames: int
) -> None:
    network = build(vectors, activation=activation)
    magnitude = rng.uniform(0, 4, (2, N_BINS, n_frames)).astype(np.float32)
    with torch.inference_mode():
        found = network.activations(torch.from_numpy(magnitude)).numpy()
        estimates = network(torch.from_numpy(magnitude)).numpy()
        masks = network.masks(torch.from_numpy(magnitude).transpose(1, 2)).transpose(2, 3).numpy()
    expected = np.stack([naive_activations(network, one) for one in magnitude])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    shares = np.abs(found) / np.abs(found).sum(1, keepdims=True)
    np.testing.assert_allclose(masks, shares, atol=1e-5)
    np.testing.assert_allclose(estimates, shares * magnitude[:, None], atol=1e-5)
    np.testing.assert_allclose(masks.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("vectors", KINDS)
def test_no_frame_sees_further_than_the_network_says(rng: np.random.Generator, vectors: str) -> None:
    network = build(vectors, activation="tanh")
    first = rng.uniform(0, 3, (1, N_BINS, 12)).astype(np.float32)
    second = first.copy()
    second[..., 8] = 0
    with torch.inference_mode():
        one, other = (network.activations(torch.from_numpy(x)).numpy() for x in (first, second))
    changed = np.flatnonzero(np.abs(one - other).max((0, 1, 2)) > 1e-6)
    side = network.config.look_ahead
    assert side == {"window": 1, "colour": 0}[vectors]
    np.testing.assert_array_equal(changed, np.arange(8 - side, 8 + side + 1))


@pytest.mark.parametrize("vectors", KINDS)
def test_the_papers_size_has_three_numbers_per_weight(vectors: str) -> None:
    network = build_network(VPNNConfig.model_validate({"vectors": vectors}), 513)
    weights = 513 * 512 + 2 * 512 * 512 + 512 * 1026
    biases = 3 * 512 + 1026
    assert sum(parameter.numel() for parameter in network.parameters()) == 3 * (weights + biases) == 3_944_454


def test_fresh_layers_keep_the_size_of_their_vectors() -> None:
    """Two products per input: the bounds that keep variances alike forwards and backwards."""
    torch.manual_seed(0)
    made = VectorProductLinear(300, 300)
    assert torch.count_nonzero(made.bias) == 0
    outputs = made(torch.randn(3, 200, 300))
    assert float(outputs.detach().std()) == pytest.approx(1, rel=0.05)
