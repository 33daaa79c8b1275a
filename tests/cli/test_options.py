"""Options that exclude each other are refused, both of them named; none wins without a word."""

from pathlib import Path

import pytest

from duetto.training.config_io import recipe_names
from helpers.command_line import duetto

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--format", "mp3", "--format", "flac"], ["--format is given 2 times"]),
        (["--stem", "vocals", "--stem", "accompaniment"], ["--stem is given 2 times"]),
        (["-n", "drnn", "--model", "mir1k"], ["--model is given 2 times"]),
        (["--stem", "vocals", "--mix", "vocals=-6dB"], ["--stem", "--mix"]),
        (["--format", "mp3", "--bit-depth", "16"], ["--format mp3", "--bit-depth", "wav, flac"]),
        (["--format", "flac", "--bit-depth", "32f"], ["--format flac", "--bit-depth 32f"]),
        (["--format", "wav", "--bitrate", "128"], ["--format wav", "--bitrate", "mp3, opus, m4a"]),
        (["--bitrate", "128"], ["--bitrate needs --format"]),
        (["--format", "opus", "--quality", "3"], ["--format opus", "--quality", "mp3, ogg, flac"]),
        (["--format", "mp3", "--bitrate", "128", "--quality", "3"], ["--bitrate", "--quality"]),
        (["--mask", "binary", "--passes", "3"], ["--mask binary", "--passes"]),
        (["--jobs", "2", "--ray", "auto"], ["--jobs", "--ray"]),
        (["--start", "1:30", "--end", "90"], ["--start 90", "--end 90"]),
        (["--passes", "10"], ["--passes", "1<=x<=9"]),
        (["--format", "aac"], ["--format", "'wav', 'flac', 'mp3', 'ogg', 'opus', 'm4a'"]),
        (["--mp3"], ["--mp3"]),
    ],
)
def test_options_that_exclude_each_other(options: list[str], named: list[str]) -> None:
    outcome = duetto("separate", "song.wav", *options)
    assert (outcome.code, len(outcome.err), outcome.out) == (2, 1, [])
    for name in named:
        assert name in outcome.err[0]


@pytest.mark.parametrize(
    "options", [["--stem", "vocals"], ["--overwrite", "--overwrite"], ["--jobs", "1"], ["--bit-depth", "32f"]]
)
def test_options_that_exclude_nothing(options: list[str]) -> None:
    outcome = duetto("separate", "missing.wav", *options, "-n", "drnn")
    assert (outcome.code, outcome.out) == (1, [])
    assert "missing.wav" in outcome.err[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seperate", "No such command 'seperate': did you mean separate?"),
        ("here.mp3", "No such command 'here.mp3': did you mean duetto separate?"),
        ("karaoke", "No such command 'karaoke': write one of separate, studio, check,"),
    ],
)
def test_an_unknown_command_says_what_may_have_been_meant(here: Path, name: str, said: str) -> None:
    (here / "here.mp3").touch()
    outcome = duetto(name)
    assert (outcome.code, len(outcome.err)) == (2, 1)
    assert outcome.err[0].startswith(f"duetto: {said}")
    assert outcome.err[0].endswith("(see duetto --help)")


def test_training_without_a_recipe_lists_the_recipes() -> None:
    outcome = duetto("train")
    assert outcome.code == 2
    assert outcome.err == [
        "duetto: Name one of these recipes, or the path of a .toml file (see duetto train --help)"
    ]
    listed = [line.split()[0] for line in outcome.out]
    assert sorted(listed) == recipe_names()
    assert listed.index("mir1k") < listed.index("fan2017/dnn1")  # the rows of papers come last
    assert "duetto  " in "\n".join(outcome.out)
    assert all(len(line.split()) > 1 for line in outcome.out)


@pytest.mark.slow
def test_the_latency_that_help_tells_is_that_of_the_models() -> None:
    help_lines = [line.split() for line in duetto("stream", "--help").out]
    for model in ("drnn", "duetto"):
        (told,) = (line for line in help_lines if line[:1] == [model] and line[-1] == "ms")
        options = ("--rate", "44100", "--channels", "2", "--model", model, "--latency")
        assert duetto("stream", *options).out == [f"{told[1].replace(',', '')} ms"]
