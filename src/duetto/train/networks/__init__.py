"""The networks, one per file, none knowing of another."""

from duetto.train.config import DRNNConfig
from duetto.train.networks.drnn import DRNN

Network = DRNN


def build_network(config: DRNNConfig, n_bins: int) -> Network:
    """The network that a recipe's `[network]` table describes, with fresh weights."""
    return DRNN(config, n_bins)
