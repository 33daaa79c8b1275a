"""Averages the best weights of two runs, the second of which was initialised from the first.

    python scripts/mean_of_runs.py runs/first runs/second runs/both [--weight 0.75]

The new folder has the configuration of the second run and can be exported. On material unlike the training
data of the second run, the mean is more robust than either (Wortsman et al., "Robust fine-tuning of zero-shot
models", 2022). Where the network of the second run is larger, the mean is taken with its initial weights.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from duetto.training.config_io import read_config
from duetto.training.init_from import initialise_from
from duetto.training.networks import build_network


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("first", "second", "both"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--weight", type=float, default=0.5, metavar="W", help="of the second run, 0 to 1")
    runs = parser.parse_args()
    config = read_config(runs.second / "config.json")
    torch.manual_seed(config.run.seed)  # as the run did before it made the same network
    network = build_network(config.network, config.stft.build(centred=True).n_bins)
    initialise_from(runs.first / "best.safetensors", network)
    one, other = network.state_dict(), load_file(runs.second / "best.safetensors")
    mean = {
        name: torch.lerp(one[name], weight, runs.weight) if weight.is_floating_point() else weight
        for name, weight in other.items()
    }
    runs.both.mkdir(parents=True)
    save_file(mean, runs.both / "best.safetensors")
    (runs.both / "config.json").write_bytes((runs.second / "config.json").read_bytes())
    summary = json.loads((runs.second / "summary.json").read_text())
    summary["mean_with"] = str(runs.first)
    (runs.both / "summary.json").write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
