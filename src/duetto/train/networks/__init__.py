"""The networks, one per file, none knowing of another."""

from duetto.train.config import DRNNConfig, VPNNConfig
from duetto.train.networks.drnn import DRNN
from duetto.train.networks.vpnn import VPNN

Network = DRNN | VPNN


def build_network(config: DRNNConfig | VPNNConfig, n_bins: int) -> Network:
    """The network that a recipe's `[network]` table describes, with fresh weights."""
    return VPNN(config, n_bins) if isinstance(config, VPNNConfig) else DRNN(config, n_bins)
