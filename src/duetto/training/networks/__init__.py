"""The networks, one per file, none knowing of another."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from duetto.training.config import DRNNConfig, UNetConfig, VPNNConfig
from duetto.training.networks.drnn import DRNN
from duetto.training.networks.unet import UNet
from duetto.training.networks.vpnn import VPNN

Network = DRNN | VPNN | UNet


@runtime_checkable
class Stateful(Protocol):
    """A network that also takes a sequence in chunks; they give what `masks` gives of the whole."""

    @property
    def first_frames(self) -> int:
        """Frames of the first chunk, at least."""

    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first chunk, batch_size first; empty along dimensions of no fixed size."""

    def step(self, x: Tensor, state: Sequence[Tensor], is_last: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next masks and the state after them; see `duetto.models.registry.StatefulModel`."""


def build_network(config: DRNNConfig | VPNNConfig | UNetConfig, n_bins: int) -> Network:
    """The network that a recipe's `[network]` table describes, with fresh weights."""
    match config:
        case UNetConfig():
            return UNet(config, n_bins)
        case VPNNConfig():
            return VPNN(config, n_bins)
    return DRNN(config, n_bins)
