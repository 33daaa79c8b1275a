import subprocess
from pathlib import Path

from duetto.training import git_revision


def test_the_commit_is_of_the_checkout_and_says_if_files_changed(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(git_revision, "__file__", str(tmp_path / "git_revision.py"))
    assert git_revision.commit() is None
    git("init", "-q")
    Path(git_revision.__file__).write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert git_revision.commit() == head[:12]
    Path(git_revision.__file__).write_text("two")
    assert git_revision.commit() == head[:12] + "+"
