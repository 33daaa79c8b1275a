"""The README's commands and Python lines run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import duetto
from duetto.cli.separate import EXAMPLE

README = Path(__file__).resolve().parents[2] / "README.md"
LINES = README.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the songs that the README names."""
    (tmp_path / "music").mkdir()
    for name in ("song.flac", "music/first.flac"):
        shutil.copy(EXAMPLE, tmp_path / name)
    audio, sample_rate = duetto.load_audio(EXAMPLE)
    duetto.save_audio(tmp_path / "song.mp3", audio, sample_rate)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_has_one_command_to_run_and_one_to_test() -> None:
    """The second is the line that the CI script looks for and runs."""
    set_up = [line.strip() for line in LINES if line.strip().startswith("python3 -m venv")]
    assert [line.rsplit("/", 1)[1] for line in set_up] == ["duetto separate --example", "pytest"]


def test_the_readme_is_short_and_its_picture_is_small() -> None:
    assert len(LINES) <= 150
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", "\n".join(LINES))
    assert pictures
    assert all((README.parent / picture).stat().st_size < 200_000 for picture in pictures)


@pytest.mark.slow
def test_the_python_lines_of_the_readme_run(songs: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    stems, audio = names["stems"], names["audio"]
    assert isinstance(stems, dict)
    assert list(stems) == ["vocals", "accompaniment"]
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], audio, atol=1e-6)
    assert names["sample_rate"] == 44100
    assert vars(names["summary"])["n_done"] == 1


@pytest.mark.slow
def test_the_commands_of_the_table_run(songs: Path) -> None:
    commands = [command for line in LINES for command in re.findall(r"^\| .* \| `(.*duetto .*)` \|$", line)]
    assert len(commands) >= 5
    assert "--stem accompaniment" in commands[0]
    for command in commands:
        if "arecord" in command:
            continue  # needs a sound card; tests/cli has the stream
        script = f'duetto() {{ {sys.executable} -m duetto "$@"; }}\n{command}'
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    for name in (
        "separated/duetto/song/accompaniment.mp3",
        "separated/duetto/song/vocals.flac",
        "stems/duetto/first/vocals.flac",
    ):
        assert (songs / name).stat().st_size > 10_000
