"""A paper's table on a small MIR-1K: made, found again, killed and resumed, failing in one row."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file
from test_datasets import IKALA_SONGS, MIR1K_DEV, mir1k_train

from duetto.evaluation.datasets import load_tracks
from duetto.evaluation.evaluator import evaluate_tracks
from duetto.evaluation.report import Report
from duetto.evaluation.tracks import Track
from duetto.training.config_io import load_config
from duetto.training.data.sources import at_sample_rate
from duetto.training.reproduce.paper_runner import reproduce
from helpers.command_line import Outcome, duetto, duetto_apart

pytestmark = pytest.mark.slow  # networks are trained

TEST_CLIPS = ["Ani_1_01", "Ani_1_02", "Ani_2_01", "titon_1_01", "titon_3_01"]
RECIPE = """
name = "{name}"
[stft]
n_fft = 256
hop_length = 128
[network]
hidden_size = 16
n_layers = 1
recurrent_layers = {recurrent}
[mixing]
n_frames = 20
[optimiser]
batch_size = 4
learning_rate = 1e-2
warm_up_steps = 2
[run]
n_steps = 8
evaluate_every = 2
n_logged_tracks = 0
"""
TABLE = """
title = "A small paper"
source = "nowhere"
dataset = "mir1k"
sample_rate = 16000
[[rows]]
name = "hpss"
label = "HPSS"
kind = "method"
printed = [4, 5, 6]
[[rows]]
name = "quoted"
label = "something quoted"
kind = "quoted"
printed = [1, 2, 3]
[[rows]]
name = "dnn"
label = "a DNN"
kind = "network"
n_seeds = 2
printed = [4.5, 6, 5]
[[rows]]
name = "rnn"
label = "an RNN"
kind = "network"
printed = [4.5, 6, 5]
[[rows]]
name = "oracle-ratio"
label = "an oracle"
kind = "oracle"
printed = [9, 9, 9]
[[findings]]
says = "the oracle is better than a small network"
better = "oracle-ratio"
than = ["rnn", "dnn"]
[[findings]]
says = "an RNN is better than a DNN"
better = "rnn"
than = ["dnn"]
"""


def write_clips(folder: Path, names: list[str], sample_rate: int, seconds: float) -> None:
    """Stereo clips: left noise, right a gliding tone."""
    folder.mkdir(parents=True)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        hertz = rng.uniform(1500, 2300) + 300 * np.sin(2 * np.pi * rng.uniform(2, 6) * time)
        vocals = 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / sample_rate)
        noise = 0.1 * rng.standard_normal(time.size)
        soundfile.write(folder / f"{name}.wav", np.stack([noise, vocals], axis=1), sample_rate)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mir1k")
    write_clips(root / "Wavfile", [*mir1k_train(), *MIR1K_DEV, *TEST_CLIPS], 16000, 0.25)
    return root


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    (folder / "small.toml").write_text(TABLE, encoding="utf-8")
    for name, recurrent in {"dnn": "[]", "rnn": "[1]"}.items():
        text = RECIPE.format(name=name, recurrent=recurrent)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder / "small.toml"


@pytest.fixture(scope="module")
def made(data: Path, paper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    outcome = duetto("reproduce", paper, "--data", data, "--output", out, "--jobs", "1")
    assert (outcome.code, outcome.out, outcome.err) == (0, [str(out / "TABLE.md")], [])
    return out


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds; those of the first table are enough."""
    monkeypatch.setattr("duetto.training.reproduce.paper_runner.draw", lambda *_: None)


def table(out: Path) -> dict[str, Any]:
    """TABLE.json without what depends on the clock."""
    said: dict[str, Any] = json.loads((out / "TABLE.json").read_text(encoding="utf-8"))
    for row in said["rows"]:
        for run in row.get("runs", []):
            run.pop("seconds")
    return said


def row(out: Path, name: str) -> dict[str, Any]:
    (found,) = (row for row in table(out)["rows"] if row["name"] == name)
    return dict(found)


def again(data: Path, paper: Path, out: Path, *options: str) -> Outcome:
    return duetto("reproduce", paper, "--data", data, "--output", out, "--jobs", "1", *options)


def test_a_row_has_the_scores_that_its_bundle_gets(made: Path, data: Path) -> None:
    outcome = duetto("evaluate", "mir1k", "--data", data, "-n", made / "dnn" / "dnn.onnx", "-o", made / "x")
    assert outcome.code == 0
    means = json.loads((made / "x" / "scores.json").read_text(encoding="utf-8"))["means"]
    second = json.loads((made / "dnn-seed-1" / "scores" / "scores.json").read_text(encoding="utf-8"))["means"]
    found = row(made, "dnn")
    for source in ("vocals", "accompaniment"):
        for metric, mean in found["measured"][source].items():
            of_runs = [means[source][metric], second[source][metric]]
            assert abs(of_runs[0] - of_runs[1]) > 1e-3
            assert mean["mean"] == pytest.approx(np.mean(of_runs), abs=1e-9)
            assert mean["low"] < mean["mean"] < mean["high"]
    assert (found["n_tracks"], found["n_songs"]) == (5, 4)


def test_a_row_tells_how_it_came_about(made: Path) -> None:
    found, summary = row(made, "rnn"), json.loads((made / "rnn" / "summary.json").read_text("utf-8"))
    n_parameters = 3 * 129 * 16 + 2 * 16 + 16 * 16 + 16 * 258 + 258
    assert found["n_parameters"] == n_parameters
    assert found["optimiser"] == "adamw"
    (run,) = found["runs"]
    assert (run["n_steps"], run["seed"]) == (8, 0)
    assert (run["best_step"], run["dev_gnsdr"]) == (summary["best_step"], summary["best_gnsdr"])
    assert run["commit"] == summary["commit"]
    assert run["gnsdr"] == pytest.approx(found["measured"]["vocals"]["gnsdr"]["mean"])
    assert [run["seed"] for run in row(made, "dnn")["runs"]] == [0, 1]
    assert found["printed"] if "printed" in found else found["kind"] == "network"


def test_the_page_has_the_papers_figures_beside_ours(made: Path) -> None:
    page = (made / "TABLE.md").read_text(encoding="utf-8")
    vocals = row(made, "dnn")["measured"]["vocals"]["gnsdr"]
    ours = f"{vocals['mean']:.2f} ({vocals['low']:.2f} to {vocals['high']:.2f})"
    assert f"| a DNN | 4.50 / 6.00 / 5.00 | {ours} |" in page
    assert "| something quoted | 1.00 / 2.00 / 3.00 | not run |" in page
    assert "5 tracks of mir1k test" in page


def test_a_finding_compares_with_the_best_of_the_others(made: Path) -> None:
    finding, _ = table(made)["findings"]
    means = {
        name: row(made, name)["measured"]["vocals"]["gnsdr"]["mean"]
        for name in ("oracle-ratio", "dnn", "rnn")
    }
    best = max("dnn", "rnn", key=means.__getitem__)
    assert finding["than"] == {"dnn": "a DNN", "rnn": "an RNN"}[best]
    assert finding["difference"]["gnsdr"]["mean"] == pytest.approx(means["oracle-ratio"] - means[best])
    assert finding["printed"] == {"gnsdr": 4.5, "gsir": 3, "gsar": 4}


def test_two_rows_for_one_printed_row_have_no_printed_difference(made: Path) -> None:
    _, finding = table(made)["findings"]
    assert "printed" not in finding
    assert "| an RNN less a DNN |  |" in (made / "TABLE.md").read_text(encoding="utf-8")


def test_pictures_are_drawn(made: Path) -> None:
    for name in ("singers", "learning", "spectrograms"):
        assert (made / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_not_done_again(
    made: Path, data: Path, paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    for name in ("train", "evaluate_tracks", "export_run"):
        monkeypatch.setattr(f"duetto.training.reproduce.runs.{name}", never)
    before = table(made)
    assert again(data, paper, made).code == 0
    assert table(made) == before


def test_a_row_with_scores_needs_no_weights(made: Path, data: Path, paper: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "small", ignore=shutil.ignore_patterns("*.safetensors", "*.onnx"))
    assert again(data, paper, out).code == 0
    assert table(out) == table(made)
    assert not (out / "dnn" / "best.safetensors").exists()


def test_a_killed_table_is_resumed_and_ends_alike(
    made: Path, data: Path, paper: Path, tmp_path: Path
) -> None:
    kill = """
import os, signal
import duetto.training.trainer as loop
save = loop.save_checkpoint
def save_and_die(folder, checkpoint):
    save(folder, checkpoint)
    if folder.name == "rnn" and checkpoint.progress.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
loop.save_checkpoint = save_and_die
"""
    arguments = ("reproduce", paper, "--data", data, "--output", tmp_path / "small", "--jobs", "1")
    outcome = duetto_apart(*arguments, before=kill)
    assert outcome.code == -9
    assert (tmp_path / "small" / "dnn" / "scores" / "scores.json").exists()
    assert not (tmp_path / "small" / "rnn" / "summary.json").exists()
    assert not (tmp_path / "small" / "TABLE.md").exists()
    assert again(data, paper, tmp_path / "small").code == 0
    assert table(tmp_path / "small") == table(made)


def test_other_weights_are_scored_again(made: Path, data: Path, paper: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "small")
    weights = load_file(out / "dnn" / "best.safetensors")
    save_file({name: value.flip(0) for name, value in weights.items()}, out / "dnn" / "best.safetensors")
    assert again(data, paper, out, "--row", "dnn").code == 0
    assert row(out, "dnn")["measured"] != row(made, "dnn")["measured"]
    assert row(out, "rnn") == row(made, "rnn")


def test_a_row_that_fails_is_reported_and_the_others_go_on(
    made: Path, data: Path, paper: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small"
    shutil.copytree(made / "dnn", out / "dnn")
    config = json.loads((out / "dnn" / "config.json").read_text(encoding="utf-8"))
    config["run"]["seed"] = 1
    (out / "dnn" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    outcome = again(data, paper, out)
    assert outcome.code == 1
    assert outcome.err == [
        f"duetto: dnn: {out / 'dnn'} is a run with another configuration; move it or choose another --output"
    ]
    assert "measured" not in row(out, "dnn")
    assert row(out, "rnn") == row(made, "rnn")
    assert table(out)["findings"] == []


def test_settings_of_all_recipes_make_another_table(
    made: Path, data: Path, paper: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(made, tmp_path / "small")
    outcome = again(data, paper, out, "--set", "run.n_steps=4", "--row", "dnn")
    assert outcome.err[0].startswith(f"duetto: dnn: {out / 'dnn'} is a run with another configuration")
    shutil.rmtree(out / "dnn")
    shutil.rmtree(out / "dnn-seed-1")
    assert again(data, paper, out, "--set", "run.n_steps=4", "--row", "dnn").code == 0
    assert table(out)["settings"] == ["run.n_steps=4"]
    assert [run["n_steps"] for run in row(out, "dnn")["runs"]] == [4, 4]
    assert "measured" not in row(out, "rnn")  # it has other settings
    assert row(out, "hpss") == row(made, "hpss")


def test_one_row_can_be_run(made: Path, data: Path, paper: Path, tmp_path: Path) -> None:
    assert again(data, paper, tmp_path / "small", "--row", "rnn").code == 0
    assert not (tmp_path / "small" / "dnn").exists()
    assert row(tmp_path / "small", "rnn") == row(made, "rnn")
    assert "| a DNN | 4.50 / 6.00 / 5.00 | not yet |" in (tmp_path / "small" / "TABLE.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["huang2013"], "no paper 'huang2013': give one of fan2017, huang2014"),
        (["huang2014", "--row", "dnm"], "huang2014 has no row 'dnm' to run; its rows: rpca,"),
        (["huang2014", "--row", "rpcah"], "no row 'rpcah' to run"),
        (["huang2014", "--dataset", "musdb"], "no settings for the dataset 'musdb'; choose mir1k"),
        (["fan2017", "--dataset", "musdb"], "no settings for the dataset 'musdb'; choose ikala, mir1k"),
    ],
)
def test_what_cannot_be_made_is_refused(data: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    outcome = duetto("reproduce", *arguments, "--data", data, "--output", tmp_path / "out")
    assert outcome.code == 1
    assert said in outcome.err[0]
    assert not (tmp_path / "out").exists()


# --- iKala, which can no longer be downloaded: 44.1 kHz, left the music, right the voice


@pytest.fixture(scope="module")
def ikala(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ikala")
    names = [f"{song}_verse" for song in IKALA_SONGS] + [f"{song}_chorus" for song in IKALA_SONGS[::4][:46]]
    write_clips(root / "Wavfile", sorted(names), 44100, 0.2)
    return root


@pytest.mark.parametrize("name", ["cvpnn", "wvpnn"])
def test_fan2017_runs_on_ikala_at_16_khz(
    ikala: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped recipes, with small networks and few steps."""
    recipes = Path(__file__).parents[2] / "src" / "duetto" / "training" / "recipes" / "fan2017"
    text = (recipes / f"{name}.toml").read_text(encoding="utf-8")
    for long, short in {
        "n_steps = 800": "n_steps = 2",
        "evaluate_every = 100": "evaluate_every = 2",
        'kind = "vpnn"': 'kind = "vpnn"\nhidden_size = 4',
    }.items():
        assert long in text
        text = text.replace(long, short)
    (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    head = TABLE[: TABLE.index("[[rows]]")].replace("mir1k", "ikala")
    row = f'[[rows]]\nname = "{name}"\nlabel = "{name}"\nkind = "network"\n'
    (tmp_path / "few.toml").write_text(head + row, encoding="utf-8")
    rates, scored = [], 0

    def score(separate: Any, tracks: list[Track], **_: Any) -> Report:
        nonlocal scored
        scored = len(tracks)
        rates.extend(track.load().sample_rate for track in tracks)
        return evaluate_tracks(separate, tracks[::20], jobs=1)  # all 189 take long

    monkeypatch.setattr("duetto.training.reproduce.runs.evaluate_tracks", score)
    load = Report.load
    monkeypatch.setattr(Report, "load", lambda folder, names: load(folder, names[::20]))
    _, failed = reproduce(str(tmp_path / "few.toml"), ikala, tmp_path / "out", jobs=1)
    assert not failed
    assert scored == 189
    assert set(rates) == {16000}
    (found,) = table(tmp_path / "out")["rows"]
    assert found["n_tracks"] == 10
    assert found["n_parameters"] == 3 * (513 * 4 + 2 * 16 + 4 * 1026 + 3 * 4 + 1026)


def test_ikalas_channels_are_the_music_and_the_voice(ikala: Path) -> None:
    train, test = (load_tracks("ikala", ikala, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (63, 189)
    assert not {track.song for track in train} & {track.song for track in test}
    audio = at_sample_rate(train[0], 16000).load()
    assert audio.sample_rate == 16000
    peaks = {}
    for name, source in audio.sources.items():
        assert source.shape == (1, 3200)
        assert source.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(source[0])) ** 2
        peaks[name] = spectrum[200:500].sum() / spectrum.sum()  # 1 to 2.5 kHz, where the voice glides
    assert peaks["vocals"] > 0.9
    assert peaks["accompaniment"] < 0.5


def test_resampling_keeps_what_fits_and_removes_what_does_not(ikala: Path) -> None:
    (track, *_) = load_tracks("ikala", ikala, split="train")
    audio, time = track.load(), np.arange(44100) / 44100
    audio.sources["vocals"] = np.sin(2 * np.pi * 1000 * time, dtype=np.float32)[None]
    audio.sources["accompaniment"] = np.sin(2 * np.pi * 12000 * time, dtype=np.float32)[None]
    kept = at_sample_rate(type(track)("a", "a", None, lambda: audio), 16000).load().sources
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    inner = slice(200, -200)  # at the ends the filter sees silence
    assert np.abs(kept["vocals"][0, inner] - expected[inner]).max() < 2e-3
    assert np.abs(kept["accompaniment"][0, inner]).max() < 10 ** (-50 / 20)


def test_fan2017_is_prepared_for_mir1k(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recipes are trained on MIR-1K's split and say so."""
    seen = []

    def train(config: Any, *_: object, **__: object) -> None:
        seen.append(config.data)
        raise OSError("enough")

    monkeypatch.setattr("duetto.training.reproduce.runs.train", train)
    _, failed = reproduce("fan2017", data, tmp_path, dataset="mir1k")
    assert failed.keys() == {"dnn1", "dnn2", "dnn3", "cvpnn", "wvpnn", "dnn-as-cvpnn", "dnn-as-wvpnn"}
    for settings in seen:
        assert (settings.dataset, settings.train_split, settings.validation_split) == (
            "mir1k",
            "train",
            "dev",
        )
        assert settings.n_held_out_songs == 0
        assert "MIR-1K" in settings.description
    assert load_config("fan2017/cvpnn").data.dataset == "ikala"
