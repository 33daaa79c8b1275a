"""The models that ship are what their page says, and answer as they did when they were exported."""

import runpy
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from duetto import Separator, evaluate, load_audio, load_tracks, si_sdr
from duetto.models.onnx_model import OnnxModel
from duetto.models.registry import DEFAULT_MODEL, model_files

ROOT = Path(__file__).resolve().parents[2]
WITH_LICENCE = ROOT / "checkpoints" / "duetto-with-licence.onnx"
MAX_BYTES = 15_000_000


@pytest.mark.parametrize("name", model_files())
def test_a_model_that_ships_is_sound_and_small(name: str) -> None:
    model = OnnxModel(model_files()[name])
    model.verify()
    assert model.metadata.name == name
    assert model.n_bytes <= MAX_BYTES
    assert set(model.metadata.sources) == {"vocals", "accompaniment"}


def test_the_default_model_ships() -> None:
    assert DEFAULT_MODEL in model_files()


def test_the_training_sets_of_the_model_with_licence_all_state_one() -> None:
    model = OnnxModel(WITH_LICENCE)
    model.verify()
    assert model.metadata.name == WITH_LICENCE.stem
    assert model.metadata.licence == "CC BY-NC-SA 4.0; MIR-1K is for research"
    table = tomllib.loads((ROOT / "scripts" / "training_sources.toml").read_text(encoding="utf-8"))
    unlicensed = [
        name
        for sources in table.values()
        for name, source in sources.items()
        if source.get("licence", "not stated").startswith("not stated")
    ]
    weights = model.metadata.recipe["data"]["sampling_weights"]
    assert len(unlicensed) > 70
    own = [pattern for pattern in weights if pattern != "multitrack-*"]  # which all songs fit
    files = [f"{name}-000" for name in unlicensed] + [f"multitrack-{name}" for name in unlicensed]
    assert not [file for file in files if any(fnmatch(file, pattern) for pattern in own)]


@pytest.mark.slow
@pytest.mark.parametrize("model", [DEFAULT_MODEL, WITH_LICENCE])
def test_the_voice_of_the_example_is_found(model: str | Path) -> None:
    stems = runpy.run_path(str(ROOT / "scripts/synthesise_example.py"))["synthesise"]()
    mixture = stems["vocals"] + stems["accompaniment"]
    separated = Separator(model).separate(mixture, 44100)
    for name, stem in stems.items():
        assert si_sdr(stem, separated[name]) > si_sdr(stem, mixture) + 6


def test_a_softer_song_has_the_same_masks(rng: np.random.Generator) -> None:
    """The network has no biases, so a song 60 dB softer is separated as the song itself."""
    song = rng.uniform(-0.5, 0.5, (2, 50_000)).astype(np.float32)
    separator = Separator("drnn")
    loud, soft = (separator.separate(gain * song, 44100)["vocals"] / gain for gain in (1, 1e-3))
    assert np.abs(soft - loud).max() < 1e-3 * np.abs(loud).max()


@pytest.mark.slow
def test_the_default_model_finds_the_voices_of_soft_songs(shared: Path) -> None:
    """Mixtures with a root mean square of -40 dB: its masks depend on the level."""
    music, rate = load_audio(shared / "data/instrumental/lincity-ng-001.opus")
    scores = []
    for number in (1, 2, 3):
        voice, _ = load_audio(shared / f"data/vocals/vocadito-00{number}.opus")
        n_samples = min(10 * rate, voice.shape[1])
        sources = np.stack([voice[0, :n_samples], music[0, :n_samples]])
        sources /= np.sqrt(np.square(sources).mean(axis=1, keepdims=True))
        mixture = sources.sum(0, keepdims=True)
        mixture *= 0.01 / np.sqrt(np.square(mixture).mean())
        scores.append(si_sdr(sources[:1], Separator().separate(mixture, rate)["vocals"]))
    assert np.mean(scores) > 4


def test_the_validation_score_is_that_of_training(shared: Path) -> None:
    separator = Separator("drnn")
    report = evaluate(separator, load_tracks("mir1k", shared / "data" / "mir-1k", split="dev"))
    noted = separator.metadata.metrics["training"]["best_gnsdr"]
    assert report.means["vocals"].gnsdr == pytest.approx(noted, abs=0.02)
