"""The README's Python lines run as they stand."""

import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from duetto.cli.separate import EXAMPLE

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_python_lines_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = README.read_text(encoding="utf-8").split("From Python:\n")[1].split("\n## ")[0]
    shutil.copy(EXAMPLE, tmp_path / "song.flac")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(textwrap.dedent(block), names)
    stems, audio = names["stems"], names["audio"]
    assert isinstance(stems, dict)
    assert list(stems) == ["vocals", "accompaniment"]
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], audio, atol=1e-6)
    assert names["sample_rate"] == 44100


def test_the_readme_has_one_command_to_run_and_one_to_test() -> None:
    """The second is the line that the CI script looks for and runs."""
    commands = [line.strip() for line in README.read_text(encoding="utf-8").splitlines()]
    set_up = [line for line in commands if line.startswith("python3 -m venv")]
    assert [line.rsplit("/", 1)[1] for line in set_up] == ["duetto separate --example", "pytest"]
