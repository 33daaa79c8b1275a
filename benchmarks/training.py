"""Times a training step, in 32 bits and in bfloat16.

Usage: python benchmarks/training.py [--recipes mir1k duetto] [--steps 12] [--threads 1]

A step comprises mixing, forward and backward pass and the optimisers. The songs are noise. bfloat16 is faster
on GPUs and on CPUs with AMX, and far slower elsewhere.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from duetto.training.config import Config
from duetto.training.config_io import load_config
from duetto.training.trainer import train

RATE = 16_000
OVERRIDES = [
    "data.dataset=pairs", "data.folder=.", "data.train_split=train", "data.validation_split=dev",
    "data.sampling_weights={}", "data.solo_vocals=[]", "data.solo_accompaniment=[]",
    "data.held_out_singers=[]", "data.held_out_recordings=[]",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["mir1k", "duetto"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| recipe | excerpts a step | 32 bits, s | bfloat16, s | ratio |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_songs(root)
        for recipe in options.recipes:
            seconds = {}
            for precision in ("32-true", "bf16-mixed"):
                run = [
                    f"run.n_steps={options.steps}",
                    f"run.evaluate_every={options.steps}",
                    "run.n_logged_tracks=0",
                ]
                config = load_config(recipe, [*OVERRIDES, *run, f"run.precision={precision}"])
                seconds[precision] = step_seconds(config, root, root / f"{recipe}-{precision}")
            full, half = seconds.values()
            print(
                f"| {recipe} | {config.optimiser.batch_size} | {full:.2f} | {half:.2f} | {full / half:.2f} |"
            )


def write_songs(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, n_seconds in (("train", 30), ("dev", 1)):
        for source in ("vocals", "accompaniment"):
            path = root / split / source / "noise.wav"
            path.parent.mkdir(parents=True)
            soundfile.write(path, 0.1 * rng.standard_normal(n_seconds * RATE), RATE)


def step_seconds(config: Config, root: Path, folder: Path) -> float:
    """The median over all steps but the first two and the last, which scores."""
    ends: list[float] = []
    train(
        config,
        root,
        folder,
        accelerator="cpu",
        on_step=lambda progress, values: ends.append(time.perf_counter()),
    )
    return float(np.median(np.diff(ends)[1:-1]))


if __name__ == "__main__":
    main()
