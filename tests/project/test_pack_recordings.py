"""Packing training recordings: what is taken, how much room it needs, and that the recipe reads it."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from duetto.training.config_io import load_config
from duetto.training.data.sources import load_data

SCRIPT = Path(__file__).parents[2] / "scripts" / "pack_recordings.py"
RATE = 16_000
RECIPE = """
name = "small"
[data]
dataset = "pairs"
folder = "clips"
train_split = "train"
validation_split = ""
solo_vocals = ["sung"]
multitracks = ["songs"]
held_out_recordings = ["held-*"]
solo_accompaniment = ["music"]
[data.sampling_weights]
"often" = 4
"""


def write_noise(path: Path, seconds: float, n_channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).uniform(-0.3, 0.3, (round(seconds * RATE), n_channels))
    soundfile.write(path, noise, RATE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for source in ("vocals", "accompaniment"):
        write_noise(root / "clips/train" / source / "one.wav", 4)
    write_noise(root / "sung/often.flac", 40)
    write_noise(root / "sung/seldom.flac", 40)
    write_noise(root / "sung/held-1.flac", 6)
    write_noise(root / "music/band.flac", 40, 2)
    write_noise(root / "music/held-2.flac", 6)
    write_noise(root / "songs/one/vocals-lead.flac", 20)
    write_noise(root / "songs/one/drums.flac", 18)
    (tmp_path / "small.toml").write_text(RECIPE)
    return root


@pytest.mark.slow
def test_a_pack_is_small_and_the_recipe_trains_on_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, recipe = data.parent / "pack", str(data.parent / "small.toml")
    monkeypatch.setattr(sys, "argv", ["", str(data), str(pack), "--recipe", recipe, "--megabytes", "0.25"])
    runpy.run_path(str(SCRIPT), run_name="__main__")

    seconds = {path.stem: soundfile.info(path).duration for path in pack.rglob("*.opus")}
    assert sum(path.stat().st_size for path in pack.rglob("*.opus")) < 0.3e6
    assert seconds["often"] == pytest.approx(4 * seconds["seldom"], rel=0.02)
    assert seconds["band"] == pytest.approx(seconds["seldom"], rel=0.02)
    assert seconds["held-1"] == seconds["held-2"] == 6
    assert seconds["vocals-lead"] == pytest.approx(seconds["seldom"] / 2, rel=0.02)
    assert seconds["drums"] == seconds["vocals-lead"]  # both start at the same time of the song

    recordings, validation = load_data(load_config(recipe, []).data, pack)
    assert len(recordings) == 5  # the clip, two voices, the band and the song
    assert [track.name for track in validation] == ["held-1 over held-2"]
