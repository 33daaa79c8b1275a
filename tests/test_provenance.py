import subprocess
from pathlib import Path

from duetto.train import provenance


def test_the_commit_is_of_the_checkout_and_says_if_files_changed(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.commit() is None
    git("init", "-q")
    Path(provenance.__file__).write_text("one")
    git("add", ".")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert provenance.commit() == head[:12]
    Path(provenance.__file__).write_text("two")
    assert provenance.commit() == head[:12] + "+"
