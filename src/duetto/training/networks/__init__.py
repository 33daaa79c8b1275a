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
class Streaming(Protocol):
    """A network that can also take a sequence piece by piece."""

    @property
    def look_back(self) -> int:
        """Frames before a piece that it sees again."""

    @property
    def state_size(self) -> int:
        """Numbers that it carries from piece to piece."""

    def step(self, magnitude: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The masks of a piece with its neighbours and the state after them; see `duetto.models`."""


@runtime_checkable
class Carrying(Protocol):
    """A network that can also take a spectrogram piece by piece, and then gives its masks late."""

    @property
    def first_frames(self) -> int:
        """Of the first piece, at least."""

    def empty_state(self, batch_size: int) -> list[Tensor]:
        """The state before the first piece."""

    def carry(self, planes: Tensor, state: Sequence[Tensor], follows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next masks and the state after them; see `duetto.models`."""


def build_network(config: DRNNConfig | VPNNConfig | UNetConfig, n_bins: int) -> Network:
    """The network that a recipe's `[network]` table describes, with fresh weights."""
    match config:
        case UNetConfig():
            return UNet(config, n_bins)
        case VPNNConfig():
            return VPNN(config, n_bins)
    return DRNN(config, n_bins)
