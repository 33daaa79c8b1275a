"""The convolution with the faster gradient is torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from duetto.train.convolution import Convolution

SHAPES = [(1, 1, 1, 1), (2, 3, 1, 1), (1, 2, 4, 7), (3, 2, 5, 1), (2, 4, 1, 6), (2, 3, 6, 6)]
"""batch_size, n_inputs, height, width."""
ORDERS = [torch.contiguous_format, torch.channels_last]


def pair(n_inputs: int, n_outputs: int) -> tuple[Convolution, nn.Conv2d]:
    """The same weights in both kinds, at 64 bits."""
    torch.manual_seed(0)
    own, plain = Convolution(n_inputs, n_outputs), nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=False)
    plain.load_state_dict(own.state_dict())
    return own.double(), plain.double()


def gradients(layer: nn.Module, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient of the maps, gradient of the weights, for a loss that weighs every output."""
    maps = maps.detach().requires_grad_()
    output = layer(maps)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=output.dtype)
    (output * weights).sum().backward()
    return output.detach(), maps.grad, layer.weight.grad


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_gradients_are_those_of_torch(
    shape: tuple[int, int, int, int], order: torch.memory_format
) -> None:
    own, plain = pair(shape[1], 5)
    maps = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=order)
    for found, expected in zip(gradients(own, maps), gradients(plain, maps), strict=True):
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)
        assert expected.any()


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 1, 1), (2, 1, 3, 4)])
def test_gradients_are_those_of_finite_differences(
    shape: tuple[int, int, int, int], order: torch.memory_format
) -> None:
    own, _ = pair(shape[1], 2)
    maps = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=order).requires_grad_()

    def output(maps: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(own, {"weight": weight}, maps)

    assert torch.autograd.gradcheck(output, (maps, own.weight.detach().requires_grad_()))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    n_outputs=st.integers(1, 4),
)
@settings(deadline=None, max_examples=25)
def test_any_shape_gives_torchs_gradient_of_the_weights(
    shape: tuple[int, int, int, int], n_outputs: int
) -> None:
    own, plain = pair(shape[1], n_outputs)
    maps = torch.randn(shape, dtype=torch.float64)
    assert torch.allclose(gradients(own, maps)[2], gradients(plain, maps)[2], rtol=0, atol=1e-12)


def test_the_first_layers_maps_need_no_gradient() -> None:
    own, plain = pair(2, 3)
    maps = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    for layer in (own, plain):
        layer(maps).square().sum().backward()
    assert torch.allclose(own.weight.grad, plain.weight.grad)
    assert maps.grad is None


@pytest.mark.parametrize("shape", SHAPES)
def test_training_does_not_change_the_output(shape: tuple[int, int, int, int]) -> None:
    own, maps = Convolution(shape[1], 3), torch.randn(shape)
    assert torch.equal(own.train()(maps), own.eval()(maps))


def test_under_autocast_it_is_torchs_own_as_well() -> None:
    own, plain = (layer.float() for layer in pair(3, 4))
    maps = torch.randn(2, 3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        results = gradients(own, maps), gradients(plain, maps)
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected)
        assert found.dtype == expected.dtype
