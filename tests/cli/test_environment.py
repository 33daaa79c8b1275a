"""Closed streams, an empty or unwritable home: what cron, services and containers start a program with."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.command_line import command
from helpers.files import write_song, written

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]  # shells start the command


def shell(arguments: list[str | Path], redirection: str) -> tuple[int, str]:
    """Exit code of a command in a shell, and what it printed on the streams that are open."""
    line = f"{shlex.join(command(*arguments))} {redirection}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_closed_streams_stop_no_separation(closed: str, jobs: str, tiny_model: Path) -> None:
    for name in "ab":
        write_song(f"{name}.wav")
    code, _ = shell(["separate", "a.wav", "b.wav", "-n", tiny_model, "-o", "out", "-j", jobs], closed)
    assert code == 0
    vocals, accompaniment = (
        soundfile.read(f"out/tiny/a/{stem}.wav", dtype="int16")[0] for stem in ("vocals", "accompaniment")
    )
    np.testing.assert_array_equal(vocals + accompaniment, soundfile.read("a.wav", dtype="int16")[0])
    assert len(written("out")) == 4


PRINTING = """
import os
from duetto.separation.stem_writer import StemFiles
write = StemFiles.write
def printing(self, *blocks):
    os.write(2, b"printed by a library")
    write(self, *blocks)
StemFiles.write = printing
"""


def test_what_a_library_prints_does_not_end_up_in_a_stem(tiny_model: Path) -> None:
    """With stderr closed, the next file that is opened would get its number."""
    write_song("a.wav")
    for redirection, out in (("2>&-", "closed"), ("", "open")):
        arguments = command("separate", "a.wav", "-n", tiny_model, "-o", out, before=PRINTING)
        line = f"{shlex.join(arguments)} {redirection}"
        subprocess.run(["sh", "-c", line], check=True, timeout=60, capture_output=True)
    for stem in ("vocals", "accompaniment"):
        closed, opened = (Path(out, "tiny/a", f"{stem}.wav").read_bytes() for out in ("closed", "open"))
        assert closed == opened


@pytest.mark.parametrize(
    ("arguments", "redirection", "name"),
    [
        (["separate", "-", "-o", "out"], "0<&-", "input"),
        (["stream", "--rate", "16000", "--channels", "2"], "0<&-", "input"),
        (["stream", "--rate", "16000", "--channels", "2"], "1>&- </dev/null", "output"),
    ],
)
def test_a_stream_that_is_needed_and_closed_is_an_error(
    arguments: list[str | Path], redirection: str, name: str, tiny_stateful_model: Path
) -> None:
    code, printed = shell([*arguments, "-n", tiny_stateful_model], redirection)
    assert (code, printed.count("\n")) == (1, 1)
    assert printed.startswith(f"duetto: standard {name} is closed")


WORKER = """
import multiprocessing
from duetto.batch.worker_process import serve
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, 1))
    process.start()
    theirs.close()
    ours.close()  # there is nothing to do
    process.join()
    assert process.exitcode == 0
"""


@pytest.fixture
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no sign of a CI system, under which onnxruntime collects nothing."""
    for name in ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    return here / "home"


@pytest.mark.slow
def test_nothing_is_kept_in_the_home_of_the_user(home: Path, tiny_model: Path) -> None:
    """Since version 1.32 onnxruntime keeps a device id and a queue of events there, unless told not to."""
    write_song("a.wav")
    for jobs in ("1", "2"):
        assert shell(["separate", "a.wav", "--example", "-n", tiny_model, "-o", jobs, "-j", jobs], "")[0] == 0
    assert written(home) == []


def test_a_worker_process_by_itself_keeps_nothing_there_either(home: Path) -> None:
    Path("worker.py").write_text(WORKER)
    subprocess.run([sys.executable, "worker.py"], check=True, timeout=60)
    assert written(home) == []


def test_a_home_that_cannot_be_written_is_no_reason_to_print_anything(
    home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song("a.wav")
    monkeypatch.setenv("HOME", os.devnull)
    code, printed = shell(["separate", "a.wav", "-n", tiny_model, "-o", "out", "--stem", "vocals"], "")
    assert (code, printed) == (0, "out/tiny/a/vocals.wav\n")
