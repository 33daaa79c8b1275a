"""Takes the mean of the best weights of two runs, the second of which began with the weights of the first.

    python scripts/mean_of_runs.py runs/first runs/second runs/both

The new folder has the configuration of the second run; `duetto export` makes a bundle of it. On material
unlike what the second run learned from, the mean keeps more of what the first knew (Wortsman et al., "Robust
fine-tuning of zero-shot models", 2022).
"""

import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file


def main() -> None:
    first, second, both = map(Path, sys.argv[1:])
    one, other = (load_file(run / "best.safetensors") for run in (first, second))
    mean = {
        name: (one[name] + weight) / 2 if weight.is_floating_point() else weight
        for name, weight in other.items()
    }
    both.mkdir(parents=True)
    save_file(mean, both / "best.safetensors")
    (both / "config.json").write_bytes((second / "config.json").read_bytes())
    summary = json.loads((second / "summary.json").read_text())
    (both / "summary.json").write_text(json.dumps({**summary, "mean_with": str(first)}, indent=1))


if __name__ == "__main__":
    main()
