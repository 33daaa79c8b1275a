import subprocess
from pathlib import Path

import pytest

from duetto.training import run_log


def test_the_git_revision_is_of_the_checkout_and_marks_changed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(run_log, "__file__", str(tmp_path / "run_log.py"))
    assert run_log.git_revision() is None
    git("init", "-q")
    Path(run_log.__file__).write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert run_log.git_revision() == head[:12]
    Path(run_log.__file__).write_text("two")
    assert run_log.git_revision() == head[:12] + "+"
