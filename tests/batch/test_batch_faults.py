"""A batch that is killed, interrupted or not alone, and the one that follows it."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.batches import records, stems, write_songs
from helpers.command_line import WITHOUT_PRIVILEGES, command, duetto, duetto_apart

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]  # batches in processes of their own


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Begin a batch in a process group of its own."""
    return subprocess.Popen(
        command("separate", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(what: str, n_files: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many files of a batch's output fit a pattern."""
    deadline = time.monotonic() + 60
    while len(list(Path("out").rglob(what))) < n_files and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def done(out: str = "out") -> dict[str, dict]:
    return {record["song"]: record for record in records(Path(out)) if record["status"] == "done"}


@pytest.mark.slow
def test_killed_again_and_again_a_batch_ends_whole(tiny_model: Path) -> None:
    write_songs(Path("music"), 16, seconds=4.0)
    assert duetto("separate", "music", "-o", "expected", "-n", tiny_model).code == 0
    chance = random.Random(2017)
    finished: dict[str, dict] = {}
    for _ in range(3):
        process = start("music", "-o", "out", "-n", tiny_model, "-j", "2")
        wait_for("manifest.jsonl", 1, process)
        n_done = len(finished) + chance.randint(1, 2)
        while len(done()) < n_done and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.02))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        known = done()
        assert finished.items() <= known.items()  # nothing that was finished was done again
        finished = known
    assert 0 < len(finished) < 16
    outcome = duetto("separate", "music", "-o", "out", "-n", tiny_model)
    assert outcome.code == 0
    assert f"duetto: {16 - len(finished)} of 16 songs separated; {len(finished)} skipped" in outcome.err[0]
    assert stems(Path("out")) == stems(Path("expected"))
    assert finished.items() <= done().items()


@pytest.mark.parametrize(("number", "whom"), [(signal.SIGINT, "group"), (signal.SIGTERM, "batch")])
def test_an_interrupted_batch_drops_its_songs(number: signal.Signals, whom: str, tiny_model: Path) -> None:
    """Ctrl-C interrupts the workers as well; by `kill` the batch alone does."""
    write_songs(Path("music"), 6, seconds=60.0)
    process = start("music", "-o", "out", "-n", tiny_model, "-j", "2")
    wait_for(".duetto-*.part", 4, process)
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.split() == [b"duetto:", b"interrupted" if number == signal.SIGINT else b"terminated"]
    assert not list(Path("out").rglob("*.part"))
    assert len(stems(Path("out"))) == 2 * len(done())


def test_workers_of_a_killed_batch_end_too(tiny_model: Path) -> None:
    write_songs(Path("music"), 4, seconds=60.0)
    process = start("music", "-o", "out", "-n", tiny_model, "-j", "2")
    wait_for(".duetto-*.part", 4, process)
    process.kill()
    process.communicate(timeout=60)  # which waits until no worker holds its stderr
    assert not list(Path("out").rglob("*.part"))


def test_two_batches_in_one_folder(tiny_model: Path) -> None:
    write_songs(Path("music"), 6, seconds=2.0)
    assert duetto("separate", "music", "-o", "expected", "-n", tiny_model).code == 0
    both = [start("music", "-o", "out", "-n", tiny_model) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err.count(b"\n")) == (0, 1)
    assert stems(Path("out")) == stems(Path("expected"))
    assert len(done()) == 6
    outcome = duetto("separate", "music", "-o", "out", "-n", tiny_model)
    assert "0 of 6 songs separated; 6 skipped" in outcome.err[0]


def test_a_batch_leaves_the_temporary_files_of_a_living_one(tiny_model: Path) -> None:
    write_songs(Path("long"), 1, seconds=120.0)
    write_songs(Path("short"), 2)
    killed = start("long", "-o", "out", "-n", tiny_model)
    wait_for(".duetto-*.part", 2, killed)
    killed.kill()
    killed.communicate(timeout=60)
    strays = set(Path("out").rglob("*.part"))
    assert len(strays) == 2
    living = start("long", "-o", "out", "-n", tiny_model)
    try:
        while not (parts := set(Path("out").rglob("*.part"))) or parts & strays:
            time.sleep(0.01)
        template = "{model}/short/{track}/{stem}.{ext}"
        assert duetto("separate", "short", "-o", "out", "-n", tiny_model, "--template", template).code == 0
    finally:
        _, err = living.communicate(timeout=60)
    assert (living.returncode, err) == (0, b"")
    assert len(stems(Path("out"))) == 6


def test_a_read_only_folder(tiny_model: Path) -> None:
    write_songs(Path("music"), 2)
    Path("out").mkdir(mode=0o500)
    outcome = duetto_apart("separate", "music", "-o", "out", "-n", tiny_model, before=WITHOUT_PRIVILEGES)
    assert outcome.code == 1
    assert outcome.err[0].startswith("duetto: out/manifest.jsonl cannot be written: Permission denied")
    Path("out").chmod(0o700)
    Path("out/tiny/even").mkdir(mode=0o500, parents=True)
    outcome = duetto_apart("separate", "music", "-o", "out", "-n", tiny_model, before=WITHOUT_PRIVILEGES)
    assert outcome.code == 1
    assert "out/tiny/even/000/vocals.wav cannot be written: Permission denied" in outcome.err[0]
    assert outcome.err[1].startswith("duetto: 1 of 2 songs separated; 1 failed; ")
    assert len(outcome.out) == 2
