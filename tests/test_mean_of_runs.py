"""The mean of two runs: its weights, and what it says of where they come from."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

SCRIPT = Path(__file__).parents[1] / "scripts" / "mean_of_runs.py"


def test_weights_are_the_mean_and_the_rest_is_that_of_the_second_run(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second"), start=1):
        run = tmp_path / name
        run.mkdir()
        weights = {"weight": np.full((2, 3), number, np.float32), "steps": np.array(number)}
        save_file(weights, run / "best.safetensors")
        (run / "config.json").write_text(f'{{"name": "{name}"}}')
        (run / "summary.json").write_text(f'{{"best_step": {number}}}')
    subprocess.run([sys.executable, SCRIPT, "first", "second", "both"], check=True, cwd=tmp_path)
    mean = load_file(tmp_path / "both" / "best.safetensors")
    assert (mean["weight"] == 1.5).all()
    assert mean["steps"] == 2  # a count is no weight
    assert json.loads((tmp_path / "both" / "config.json").read_text()) == {"name": "second"}
    summary = json.loads((tmp_path / "both" / "summary.json").read_text())
    assert summary == {"best_step": 2, "mean_with": "first"}
