import json
import re
import shutil
import subprocess
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from duetto.cli.console import progress_bar
from duetto.cli.separate import EXAMPLE, separate
from duetto.errors import ConfigError, DuettoWarning
from duetto.models.registry import DEFAULT_MODEL, list_models
from duetto.separation.stem_writer import TEMPLATE
from duetto.training.checkpoint import RunProgress
from helpers.command_line import Terminal, duetto, duetto_apart, without
from helpers.tiny import write_model

pytestmark = pytest.mark.usefixtures("here")
COMMANDS = [
    "separate", "studio", "check", "stream", "train", "evaluate", "export", "reproduce", "models", "plot"
]  # fmt: skip
RATE = 16000


@pytest.fixture
def song(rng: np.random.Generator) -> Path:
    soundfile.write("song.wav", rng.uniform(-0.5, 0.5, (20000, 2)), RATE, subtype="PCM_24")
    return Path("song.wav")


def test_help_begins_with_what_everybody_wants() -> None:
    outcome = duetto("--help")
    assert outcome.code == 0
    assert outcome.out[2].strip() == "Separate songs into vocals and accompaniment."
    assert "duetto separate song.mp3" in [line.strip() for line in outcome.out]
    listed = [line.split()[0] for line in outcome.out[outcome.out.index("Commands:") + 1 :]]
    assert listed == COMMANDS
    assert not any("..." in line for line in outcome.out[outcome.out.index("Commands:") :])
    assert duetto() == outcome == duetto("-h")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_explains_itself(name: str) -> None:
    outcome = duetto(name, "--help")
    assert outcome.code == 0
    assert max(map(len, outcome.out)) <= 80
    command = getattr(import_module(f"duetto.cli.{name}"), name)
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    assert all(option.help for option in options)  # type: ignore[attr-defined]


def test_versions_agree() -> None:
    assert duetto("--version").out == [f"duetto, version {metadata.version('duetto')}"]


@pytest.mark.slow
def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "duetto", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == duetto("--version").out


def test_the_example_is_separated_where_one_stands(tiny_model: Path) -> None:
    outcome = duetto("separate", "--example", "-n", tiny_model)
    assert (outcome.code, outcome.err) == (0, [])
    assert outcome.out == ["separated/tiny/example/vocals.flac", "separated/tiny/example/accompaniment.flac"]
    expected = soundfile.info(EXAMPLE)
    for path in outcome.out:
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels, info.subtype) == (
            expected.frames, expected.samplerate, expected.channels, expected.subtype
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "extension", "subtype"),
    [
        ([], "wav", "PCM_24"),
        (["--format", "flac"], "flac", "PCM_24"),
        (["--format", "mp3"], "mp3", "MPEG_LAYER_III"),
        (["--format", "mp3", "--bitrate", "96"], "mp3", "MPEG_LAYER_III"),
        (["--format", "ogg", "--quality", "3"], "ogg", "VORBIS"),
        (["--format", "opus"], "opus", "OPUS"),
        (["--bit-depth", "16"], "wav", "PCM_16"),
        (["--bit-depth", "32f"], "wav", "FLOAT"),
        (["--format", "wav", "--bit-depth", "24"], "wav", "PCM_24"),
    ],
)
def test_formats(options: list[str], extension: str, subtype: str, song: Path, tiny_model: Path) -> None:
    outcome = duetto("separate", song, "-n", tiny_model, "-o", "out", *options)
    assert outcome.out == [f"out/tiny/song/{stem}.{extension}" for stem in ("vocals", "accompaniment")]
    for path in outcome.out:
        assert soundfile.info(path).subtype == subtype


def test_the_template_names_the_stems(song: Path, tiny_model: Path) -> None:
    outcome = duetto("separate", song, "-n", tiny_model, "-o", "out", "--template", "{stem} of {track}.{ext}")
    assert outcome.out == ["out/vocals of song.wav", "out/accompaniment of song.wav"]


def test_masks_and_phases_change_the_stems(song: Path, tiny_model: Path) -> None:
    stems = [
        soundfile.read(duetto("separate", song, "-n", tiny_model, *options).out[0])[0]
        for options in ([], ["--mask", "binary"], ["--griffin-lim", "2"])
    ]
    assert np.abs(stems[0] - stems[1]).max() > 0.01
    assert np.abs(stems[0] - stems[2]).max() > 0.001


def test_the_same_command_gives_the_same_bytes(song: Path, tiny_model: Path) -> None:
    first, second = (duetto("separate", song, "-n", tiny_model, "-o", out).out for out in "ab")
    for one, other in zip(first, second, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_clipped_samples_are_counted(tiny_model: Path) -> None:
    square = np.sign(np.sin(np.arange(16000) / 20))[:, None]
    soundfile.write("square.wav", square * 0.99999, RATE, subtype="PCM_16")
    outcome = duetto("separate", "square.wav", "-n", tiny_model)
    assert outcome.code == 0
    assert len(outcome.err) == 1
    assert "square.wav" in outcome.err[0]
    assert "--bit-depth 32f avoids it" in outcome.err[0]
    assert duetto("separate", "square.wav", "-n", tiny_model, "--bit-depth", "32f").err == []


def test_models_are_described(tiny_model: Path) -> None:
    outcome = duetto("models", tiny_model, "--verify")
    assert (outcome.code, outcome.err) == (0, [])
    assert outcome.out == [
        "tiny: loud bins are vocals (0.0 MB, 16000 Hz; licence: MIT)",
        "  trained on: ",
        "  parameters: 0, look-ahead: 0 frames",
        "  verified: the network gives the output recorded at export",
    ]


def test_models_that_have_a_name_are_listed_a_line_each() -> None:
    outcome = duetto("models")
    assert [line.split(":")[0] for line in outcome.out] == list_models()


def test_a_method_names_its_paper() -> None:
    (line,) = duetto("models", "rpca", "--verify").out
    assert line.startswith("rpca: robust PCA")
    assert line.endswith("(Huang et al., ICASSP 2012)")
    (described,) = json.loads("\n".join(duetto("models", "rpca", "--json").out))
    assert (described["n_fft"], described["hop_length"]) == (1024, 256)


def test_a_method_separates_files_and_batches(here: Path, song: Path) -> None:
    other = Path(shutil.copy(song, "other.wav"))
    for songs, model in (([song], "repet-sim"), ([song, other], "hpss")):
        outcome = duetto("separate", *songs, "--model", model, "--output", here / "out")
        assert outcome.code == 0
        found = {path.relative_to(here / "out") for path in map(Path, outcome.out) if path.is_file()}
        stems = ("vocals.wav", "accompaniment.wav")
        assert found == {Path(model, each.stem, stem) for each in songs for stem in stems}


def test_the_command_has_the_defaults_of_the_library() -> None:
    """Stated twice, so that help need not import the network's runtime."""
    defaults = {parameter.name: parameter.default for parameter in separate.params}
    assert (defaults["model"], defaults["template"]) == (DEFAULT_MODEL, TEMPLATE)


def test_scores_are_on_the_card(here: Path) -> None:
    means = {"vocals": {"gnsdr": 7.449, "gsir": 13.08, "gsar": 9.68, "n_tracks": 279}}
    scored = write_model(here / "scored.onnx", metrics={"protocol": "BSS Eval", "means": means})
    assert duetto("models", scored).out[-1] == "  vocals: GNSDR 7.45, GSIR 13.08, GSAR 9.68 dB (BSS Eval)"


@pytest.mark.parametrize("options", [[], ["--verify"]])
def test_models_speak_json(tiny_model: Path, options: list[str]) -> None:
    described = json.loads("\n".join(duetto("models", tiny_model, tiny_model, "--json", *options).out))
    assert [each["name"] for each in described] == ["tiny", "tiny"]
    assert described[0]["sources"] == ["vocals", "accompaniment"]


@pytest.mark.usefixtures("here")
def test_evaluate_says_how_many_of_the_test_clips_are_missing(
    tiny_model: Path, rng: np.random.Generator
) -> None:
    Path("clips").mkdir()
    soundfile.write("clips/ani_1_01.wav", rng.uniform(-0.4, 0.4, (6000, 2)), 16_000)
    outcome = duetto("evaluate", "mir1k", "--data", "clips", "-n", tiny_model, "-j", "1")
    assert outcome.code == 0
    assert outcome.err[0] == "duetto: clips holds 1 of the 825 test clips; the papers score them all"


def test_evaluate_prints_a_table_and_writes_every_score(tiny_model: Path, rng: np.random.Generator) -> None:
    for source in ("vocals", "accompaniment"):
        (Path("data") / source).mkdir(parents=True)
        for name in "ab":
            soundfile.write(f"data/{source}/{name}.wav", rng.uniform(-0.4, 0.4, 6000), RATE)
    outcome = duetto("evaluate", "pairs", "--data", "data", "--split", "all", "-n", tiny_model, "-j", "2")
    assert outcome.code == 0
    assert outcome.out[:2] == [
        "| source | GNSDR | GSIR | GSAR | SI-SDR | tracks |",
        "|---|---|---|---|---|---|",
    ]
    assert [line.split(" | ")[0] for line in outcome.out[2:]] == ["| vocals", "| accompaniment"]
    folder = Path("scores/tiny-pairs-all")
    assert outcome.err == [f"duetto: the scores of every track are in {folder}"]
    assert sorted(path.name for path in folder.rglob("*.*")) == [
        "a.json",
        "b.json",
        "scores.json",
        "summary.md",
    ]
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["model"], scores["dataset"], scores["split"]) == ("tiny", "pairs", "all")
    assert f"{scores['means']['vocals']['gnsdr']:.2f}" == outcome.out[2].split(" | ")[1]
    more = ("--passes", "3", "-o", "three", "--per-track")
    lines = duetto("evaluate", "pairs", "--data", "data", "--split", "all", "-n", tiny_model, *more)
    assert lines.code == 0
    assert [line.split(" | ")[0] for line in lines.out[2:4]] == ["| a", "| b"]
    assert "vocals SI-SDR" in lines.out[0]
    three = json.loads(Path("three/scores.json").read_text())
    assert three["n_passes"] == 3
    assert three["means"]["vocals"]["gnsdr"] != scores["means"]["vocals"]["gnsdr"]


def test_songs_are_scored_whole_without_a_split(tiny_model: Path, rng: np.random.Generator) -> None:
    for name in ("vocals", "accompaniment"):
        Path("data/song").mkdir(parents=True, exist_ok=True)
        soundfile.write(f"data/song/{name}.wav", rng.uniform(-0.4, 0.4, 6000), RATE)
    assert duetto("evaluate", "songs", "--data", "data", "-n", tiny_model, "-j", "1").code == 0
    assert json.loads(Path("scores/tiny-songs-all/scores.json").read_text())["split"] == "all"


def test_an_oracle_is_scored_but_separates_no_song(song: Path, rng: np.random.Generator) -> None:
    for source in ("vocals", "accompaniment"):
        Path("data", source).mkdir(parents=True)
        soundfile.write(f"data/{source}/a.wav", rng.uniform(-0.4, 0.4, 6000), RATE)
    options = ("--data", "data", "--split", "all", "-j", "1")
    gains = {}
    for model in ("oracle-ratio", "oracle-phase", "repet-sim"):
        outcome = duetto("evaluate", "pairs", *options, "-n", model)
        assert outcome.code == 0
        gains[model] = float(outcome.out[2].split(" | ")[1])
        assert json.loads(Path(f"scores/{model}-pairs-all/scores.json").read_text())["model"] == model
    assert gains["oracle-phase"] > gains["oracle-ratio"] > max(1, gains["repet-sim"])
    outcome = duetto("evaluate", "pairs", *options, "-n", "oracle-ratio", "--passes", "3")
    assert outcome.code == 1
    assert outcome.err == ["duetto: n_passes=3: oracle-ratio is an oracle without passes; leave it out"]
    outcome = duetto("separate", song, "-n", "oracle-ratio")
    assert outcome.code == 1
    assert outcome.err[0].startswith(
        "duetto: no model 'oracle-ratio': Give one of drnn, duetto, mir1k, rpca,"
    )


@pytest.mark.slow
def test_plot_draws_a_picture_here(song: Path, tiny_model: Path) -> None:
    outcome = duetto("plot", song, "-n", tiny_model)
    assert outcome.out == ["song.png"]
    assert Path("song.png").read_bytes().startswith(b"\x89PNG")
    assert duetto("plot", song, "-n", tiny_model, "-o", "deep/down.svg").out == ["deep/down.svg"]


class Training:
    """Stands in for the training loop."""

    def __call__(self, config: Any, data: Path, folder: Path, *, on_step: Any, **options: Any) -> RunProgress:
        self.config, self.data, self.folder, self.options = config, data, folder, options
        initial = 7.0 if config.run.init_from else None
        progress = RunProgress(step=20, best_gnsdr=7.451, best_step=10, seconds=90, initial_gnsdr=initial)
        on_step(progress, {"loss": 0.5, "validation/vocals/GNSDR": 7.0})
        return progress


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    fake = Training()
    monkeypatch.setattr("duetto.training.trainer.train", fake)
    return fake


@pytest.mark.slow
def test_train_says_how_it_went(training: Training) -> None:
    outcome = duetto("train", "drnn", "--data", "d", "--set", "run.seed=7", "--devices", "2", "--resume")
    assert outcome.out == ["runs/drnn: best validation GNSDR 7.45 dB at step 10 of 20, 1.5 minutes"]
    assert outcome.err == ["duetto: make its model file with: duetto export runs/drnn"]
    assert training.config.run.seed == 7
    assert (training.data, training.folder) == (Path("d"), Path("runs/drnn"))
    assert training.options == {"resume": True, "accelerator": "auto", "devices": 2, "nodes": 1}
    outcome = duetto("train", "fine-tune", "--data", "d", "-o", "my songs")
    assert outcome.out == [
        "my songs: best validation GNSDR 7.45 dB at step 10 of 20, 7.00 dB at step 0, 1.5 minutes"
    ]
    assert outcome.err == ["duetto: make its model file with: duetto export 'my songs'"]


@pytest.mark.parametrize("rank", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_the_first_process_speaks(
    rank: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(rank, "1")
    outcome = duetto("train", "drnn", "--data", "d")
    assert (outcome.code, outcome.out, outcome.err) == (0, [], [])
    monkeypatch.undo()
    monkeypatch.setenv(rank, "1")
    outcome = duetto("train", "drnn", "--data", "nowhere", "--accelerator", "cpu")
    assert (outcome.code, outcome.out, outcome.err) == (1, [], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("torch", "train", ["train", "drnn", "--data", "d"]),
        ("pydantic", "train", ["train", "drnn", "--data", "d"]),
        ("onnx", "train", ["export", "run"]),
        ("matplotlib", "eval", ["plot", "song.wav"]),
        ("scipy", "eval", ["evaluate", "mir1k", "--data", "d"]),
    ],
)
def test_a_missing_extra_gives_the_command_that_installs_it(
    module: str, extra: str, arguments: list[str]
) -> None:
    outcome = duetto_apart(*arguments, before=without(module))
    assert outcome.code == 1
    assert outcome.err == [
        f"duetto: this needs {module}, which is not installed: run pip install '.[{extra}]' in the clone of "
        "Duetto"
    ]


@pytest.mark.slow
def test_a_fault_of_our_own_is_no_missing_extra() -> None:
    outcome = duetto_apart("separate", "--example", before=without("numpy"))
    assert outcome.err[-1] == "ModuleNotFoundError: No module named 'numpy'"


def test_progress_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("a very long name of a song that nobody can remember.wav") as bar:
        bar(1, 4, "loss 0.5")
        bar(4, 4)
    assert "a very long name of a song that…" in terminal.shown
    assert "25%" in terminal.shown
    assert "loss 0.5" in terminal.shown
    assert "100%" in terminal.shown
    assert terminal.shown.endswith("\n")


@pytest.mark.parametrize("hidden", [True, False])
def test_progress_is_silent_elsewhere(
    hidden: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if hidden:
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("song.wav", hidden=hidden) as bar:
        bar(1, 2)
    assert (terminal.shown if hidden else capsys.readouterr().err) == ""


@pytest.mark.filterwarnings("default")
def test_a_warning_of_ours_is_a_message_and_another_one_names_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def warn(*_: object) -> None:
        warnings.warn("no recording is named x", DuettoWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        raise ConfigError("enough")

    monkeypatch.setattr("duetto.training.config_io.load_config", warn)
    outcome = duetto("train", "drnn", "--data", ".")
    assert outcome.err[0] == "duetto: warning: no recording is named x"
    assert re.search(r"test_cli\.py:\d+: UserWarning: something else", outcome.err[1])
    assert outcome.err[-1] == "duetto: enough"
