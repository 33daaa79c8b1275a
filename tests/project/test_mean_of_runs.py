"""The mean of two runs: its weights, and its summary."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from duetto.training.config_io import parse_config
from duetto.training.init_from import initialise_from
from duetto.training.networks import build_network

SCRIPT = Path(__file__).parents[2] / "scripts" / "mean_of_runs.py"
SEED = 5


def write_run(folder: Path, n_blocks: list[int]) -> torch.nn.Module:
    config = parse_config(
        {
            "name": folder.name,
            "summary": "small",
            "stft": {"n_fft": 128, "hop_length": 64, "window": "hann"},
            "network": {
                "kind": "unet", "n_sub_bands": 4, "width": 6, "n_levels": 2, "n_blocks": n_blocks
            },
            "loss": {"kind": "l1", "discrimination": 0.0},
            "run": {"seed": SEED},
        }
    )  # fmt: skip
    folder.mkdir()
    torch.manual_seed(SEED)
    network = build_network(config.network, 65)
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "summary.json").write_text(f'{{"best_step": {len(n_blocks)}}}')
    return network


@pytest.mark.parametrize(("options", "share"), [([], 0.5), (["--weight", "0.75"], 0.75)])
def test_weights_are_the_mean_with_the_initial_weights_of_the_second_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], share: float
) -> None:
    first, second = write_run(tmp_path / "first", [1]), write_run(tmp_path / "second", [1, 2])
    for network, name in ((first, "first"), (second, "second")):
        if name == "second":
            initialise_from(tmp_path / "first" / "best.safetensors", second)
            before = {key: value.clone() for key, value in second.state_dict().items()}
        for weight in network.state_dict().values():
            weight.add_(torch.randn_like(weight) if weight.is_floating_point() else 3)
        save_file(network.state_dict(), tmp_path / name / "best.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["", "first", "second", "both", *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    mean, after = load_file(tmp_path / "both" / "best.safetensors"), second.state_dict()
    assert mean.keys() == after.keys() > first.state_dict().keys()
    for key, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (1 - share) * before[key] + share * after[key])
        else:
            assert value == after[key]  # a count is no weight
    config = (tmp_path / "both" / "config.json").read_bytes()
    assert config == (tmp_path / "second" / "config.json").read_bytes()
    summary = json.loads((tmp_path / "both" / "summary.json").read_text())
    assert summary == {"best_step": 2, "mean_with": "first"}
