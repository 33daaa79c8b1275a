"""Many songs: the same stems whoever does the work, nothing done twice, no failure that stops the others."""

import hashlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import duetto as package
from duetto.batch.manifest import Record
from duetto.batch.runner import Batch, Summary, separate_files
from duetto.cli import main
from duetto.errors import ConfigError
from duetto.models.onnx_model import OnnxModel
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.batches import RATE, records, stems, write_songs
from helpers.command_line import Terminal, duetto
from helpers.files import write_song
from helpers.quick import first
from helpers.signals import noise
from helpers.tiny import TinyModel, write_model

pytestmark = pytest.mark.usefixtures("here")
JOBS = first(1, 1, 2)


@pytest.fixture
def separator(tiny_model: Path) -> Separator:
    return Separator(tiny_model)


def separate(separator: Separator, **options: Any) -> list[str]:
    """What became of the songs in `music`, in the order of their names."""
    ended: list[Record] = []
    summary = separate_files(
        ["music"], "out", separator=separator, on_done=lambda record, _: ended.append(record), **options
    )
    assert summary.n_finished == summary.n_songs == len(ended)
    return [record.status for record in sorted(ended, key=lambda record: record.song)]


@pytest.mark.slow
def test_processes_and_this_one_write_the_same_bytes(tiny_model: Path) -> None:
    write_songs(Path("music"), 5)
    outcomes = [
        duetto("separate", "music", "-o", f"out{n}", "-n", tiny_model, "-j", str(n)) for n in (1, 2, 3)
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    expected = stems(Path("out1"))
    assert list(expected)[:2] == ["tiny/even/000/accompaniment.wav", "tiny/even/000/vocals.wav"]
    assert len(expected) == 10
    for n, outcome in enumerate(outcomes, 1):
        assert stems(Path(f"out{n}")) == expected
        assert sorted(outcome.out) == [f"out{n}/{path}" for path in expected]
        assert outcome.err[0].startswith("duetto: 5 of 5 songs separated; 2 s of audio in ")
        assert outcome.err[0].endswith(" x real time")


def test_the_manifest_tells_all(tiny_model: Path) -> None:
    (path,) = write_songs(Path("music"), 1)
    loud = np.sign(np.sin(np.arange(RATE) / 20)) * 0.99999
    soundfile.write(path, loud, RATE, subtype="PCM_16")
    assert (
        duetto("separate", path, "-o", "out", "-n", tiny_model, "--mask", "binary", "--format", "wav").code
        == 0
    )
    (record,) = records(Path("out"))
    assert record["song"] == str(path.absolute())
    assert (record["status"], record["error"], record["version"]) == ("done", None, package.__version__)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["model"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert record["parameters"]["mask"] == "binary"
    assert record["parameters"]["format"] == "wav"
    assert record["audio_seconds"] == 1.0
    assert record["seconds"] > 0
    assert record["n_clipped"] > 0
    assert record["null_residual"] == 0
    for stem, output in record["outputs"].items():
        content = (Path("out") / output["path"]).read_bytes()
        assert output["path"] == f"tiny/000/{stem}.wav"
        assert output["peak"] == np.abs(soundfile.read(Path("out") / output["path"])[0]).max()
        assert (output["n_bytes"], output["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("jobs", JOBS)
def test_what_is_done_and_unchanged_is_skipped(separator: Separator, jobs: int) -> None:
    write_songs(Path("music"), 3)
    assert separate(separator) == ["done"] * 3
    written = stems(Path("out"))
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.wav")}
    n_records = len(records(Path("out")))
    assert separate(separator, jobs=jobs) == ["skipped"] * 3
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.wav")} == times
    assert len(records(Path("out"))) == n_records
    assert separate(separator, overwrite=True) == ["done"] * 3
    assert stems(Path("out")) == written


def test_skipping_is_said_and_the_stems_are_named_all_the_same(tiny_model: Path) -> None:
    (path,) = write_songs(Path("music"), 1)
    first = duetto("separate", path, "-o", "out", "-n", tiny_model)
    again = duetto("separate", path, "-o", "out", "-n", tiny_model)
    assert (again.code, again.out) == (0, first.out)
    assert again.err == [
        "duetto: 0 of 1 songs separated; 1 skipped, their stems exist (--overwrite separates them again)"
    ]
    assert duetto("separate", path, "-o", "out", "-n", tiny_model, "--overwrite") == first


def test_records_of_another_version_are_not_read_which_is_said_once(tiny_model: Path) -> None:
    write_songs(Path("music"), 2)
    command = ("separate", "music", "-o", "out", "-n", tiny_model)
    first = duetto(*command)
    manifest = Path("out/manifest.jsonl")
    manifest.write_bytes(manifest.read_bytes().replace(b'"model"', b'"bundle"'))  # as before version 0.2
    again = duetto(*command)
    assert (again.code, again.out) == (0, first.out)
    message, summary = again.err
    assert "records of another version of Duetto" in message
    assert "separated again" in message
    assert summary.startswith("duetto: 2 of 2 songs separated")
    third = duetto(*command)
    assert [line.partition(";")[0] for line in third.err] == ["duetto: 0 of 2 songs separated"]


def lose_a_stem() -> None:
    Path("out/tiny/even/000/vocals.wav").unlink()


def cut_a_stem() -> None:
    path = Path("out/tiny/even/000/accompaniment.wav")
    path.write_bytes(path.read_bytes()[:-2])


def change_a_stem() -> None:
    path = Path("out/tiny/even/000/vocals.wav")
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x02")


def change_the_song() -> None:
    soundfile.write("music/even/000.wav", np.full((4800, 2), 0.25), RATE)


@pytest.mark.parametrize("change", [lose_a_stem, cut_a_stem, change_a_stem, change_the_song])
def test_what_is_not_there_as_it_was_is_done_again(change: Any, separator: Separator) -> None:
    write_songs(Path("music"), 3)
    separate(separator)
    before = stems(Path("out"))
    change()
    assert separate(separator) == ["done", "skipped", "skipped"]
    assert (stems(Path("out")) == before) == (change is not change_the_song)
    assert separate(separator) == ["skipped"] * 3


def test_another_option_or_bundle_does_everything_again(separator: Separator, here: Path) -> None:
    write_songs(Path("music"), 2)
    assert separate(separator) == ["done"] * 2
    assert separate(separator, options=FileOptions(bit_depth="32f")) == ["done"] * 2
    assert separate(Separator(separator.model, mask="binary")) == ["done"] * 2
    assert separate(Separator(separator.model, mask="binary", n_threads=1)) == ["skipped"] * 2
    other = Separator(write_model(here / "other.onnx", summary="another"), mask="binary")
    assert separate(other) == ["done"] * 2


def test_a_touched_song_is_known_by_its_content(separator: Separator) -> None:
    path, *_ = write_songs(Path("music"), 2)
    separate(separator)
    os.utime(path, ns=(1, 1))
    os.utime("out/tiny/odd/001/vocals.wav", ns=(1, 1))
    assert separate(separator) == ["skipped"] * 2
    renewed = {record["song"]: record for record in records(Path("out"))}
    assert len(records(Path("out"))) == 4
    assert renewed[str(path.absolute())]["fingerprint"].endswith(":1")
    assert all(record["status"] == "done" for record in renewed.values())


@pytest.mark.parametrize("jobs", JOBS)
def test_a_failure_is_written_down_and_tried_again(separator: Separator, jobs: int) -> None:
    path, *_ = write_songs(Path("music"), 3)
    content = path.read_bytes()
    path.write_text("la la la\n" * 100)
    assert separate(separator, jobs=jobs) == ["failed", "done", "done"]
    (failure,) = (record for record in records(Path("out")) if record["status"] == "failed")
    assert "000.wav" in failure["error"]
    assert failure["outputs"] == {}
    path.write_bytes(content)
    assert separate(separator) == ["done", "skipped", "skipped"]


def test_a_song_deleted_after_it_was_found_fails_alone(separator: Separator) -> None:
    paths = write_songs(Path("music"), 3)
    batch = Batch(["music"], "out", FileOptions(), separator=separator)
    paths[0].unlink()
    errors = []
    summary = batch.run(on_done=lambda record, _: errors.append(record.error))
    assert (summary.n_done, summary.n_failed) == (2, 1)
    assert "000.wav does not exist" in next(filter(None, errors))


def test_a_song_that_changes_while_it_is_read_fails(separator: Separator) -> None:
    path, *_ = write_songs(Path("music"), 2)

    def touch(done: int, total: int) -> None:
        os.utime(path, ns=(done, done))

    ended: list[Record] = []
    separate_files([path], "out", separator=separator, progress=touch, on_done=lambda r, _: ended.append(r))
    assert ended[0].status == "failed"
    assert "000.wav changed while it was read" in str(ended[0].error)
    assert stems(Path("out")) == {}


@pytest.mark.slow
def test_a_bundle_replaced_in_the_middle_changes_nothing_until_the_next_batch(here: Path) -> None:
    model = write_model(here / "model.onnx")
    first = hashlib.sha256(model.read_bytes()).hexdigest()
    write_songs(Path("music"), 6)
    expected = separate(Separator(model)), stems(Path("out"))
    killed = []

    def replace_bundle(record: Record, summary: Summary) -> None:
        if summary.n_finished == 1:
            write_model(model, name="other", summary="replaced")
            killed.append(kill_a_worker())  # whose successor must not load the new file either

    separate_files(["music"], "out2", separator=Separator(model), jobs=2, on_done=replace_bundle)
    assert killed == [True]
    assert {record["model"] for record in records(Path("out2"))} == {first}
    assert stems(Path("out2")) == expected[1]


def kill_a_worker() -> bool:
    """Kill a child of this process that works for a batch."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for task in Path("/proc/self/task").iterdir():
        children += (task / "children").read_text().split()
    for child in children:
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
            return True
    return False


@pytest.mark.slow
def test_a_song_that_kills_its_process_fails_alone(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    """Through a module that Python loads first in each worker, for a song of its name."""
    write_songs(Path("music"), 4)
    Path("music/even/deadly.wav").write_bytes(Path("music/even/000.wav").read_bytes())
    Path("site").mkdir()
    Path("site/sitecustomize.py").write_text(
        "import os, sys\n"
        "def audit(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('deadly.wav'):\n"
        "        os.kill(os.getpid(), 9)\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "    sys.addaudithook(audit)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{here / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    outcome = duetto("separate", "music", "-o", "out", "-n", tiny_model, "-j", "2")
    assert outcome.code == 1
    assert len(outcome.out) == 8
    assert outcome.err[0].startswith("duetto: music/even/deadly.wav: its process was killed, twice; ")
    assert outcome.err[1].startswith("duetto: 4 of 5 songs separated; 1 failed; ")
    assert not any(path.endswith(".part") for path in stems(Path("out")))


def test_stems_never_leave_the_output_folder(tiny_model: Path, here: Path) -> None:
    (path,) = write_songs(Path("music"), 1)
    Path("elsewhere").mkdir()
    Path("out/tiny/real").mkdir(parents=True)
    Path("out/tiny/link").symlink_to(here / "elsewhere")
    Path("out/tiny/self").symlink_to(here / "out/tiny/real")
    fields = ["../..", "../../elsewhere", "/elsewhere", "link", "good", "a/../b", "self", ".."]
    rows = [f"{path.absolute()},{field}" for field in fields]
    for k in range(len(rows)):
        Path(f"{k}.csv").write_text(f"path,where\n{rows[k]}\n")
    codes = []
    for k in range(len(rows)):
        template = "{model}/{where}/{stem}.{ext}"
        outcome = duetto("separate", f"{k}.csv", "-o", "out", "-n", tiny_model, "--template", template)
        codes.append(outcome.code)
        if outcome.code:
            assert "lies outside of the output folder" in outcome.err[0]
    assert codes == [1, 1, 0, 1, 0, 0, 0, 0]
    assert stems(Path("elsewhere")) == {}
    assert sorted({Path(name).parent.as_posix() for name in stems(Path("out"))}) == [
        ".", "tiny/b", "tiny/elsewhere", "tiny/good", "tiny/real"
    ]  # fmt: skip
    outcome = duetto("separate", path, "-o", "out", "-n", tiny_model, "--template", "../{stem}.{ext}")
    assert (outcome.code, Path("vocals.wav").exists()) == (1, False)


def test_columns_of_a_table_name_the_stems(tiny_model: Path) -> None:
    write_songs(Path("music"), 2)
    Path("songs.csv").write_text("path,artist\nmusic/even/000.wav,Æ\nmusic/odd/001.wav,AC/DC\n", "utf-8")
    outcome = duetto(
        "separate", "songs.csv", "-o", "out", "-n", tiny_model, "--template", "{artist}/{name}/{stem}.{ext}"
    )
    assert sorted(outcome.out) == [
        "out/AC/DC/001.wav/accompaniment.wav", "out/AC/DC/001.wav/vocals.wav",
        "out/Æ/000.wav/accompaniment.wav", "out/Æ/000.wav/vocals.wav",
    ]  # fmt: skip


def test_songs_that_differ_in_their_extension_get_names_of_their_own(tiny_model: Path) -> None:
    write_songs(Path("music"), 2)
    write_song("music/even/000.flac")
    outcome = duetto("separate", "music", "-o", "out", "-n", tiny_model)
    assert (outcome.code, sorted(outcome.out)) == (
        0,
        [
            f"out/tiny/{song}/{stem}"
            for song, extension in (("even/000.flac", "flac"), ("even/000.wav", "wav"), ("odd/001", "wav"))
            for stem in (f"accompaniment.{extension}", f"vocals.{extension}")
        ],
    )
    again = duetto("separate", "music", "-o", "out", "-n", tiny_model)
    assert again.err[-1].startswith("duetto: 0 of 3 songs separated; 3 skipped")


def test_songs_that_would_have_the_same_stems_are_refused(tiny_model: Path) -> None:
    for folder in "ab":
        write_song(f"{folder}/song.wav")
    outcome = duetto("separate", "a/song.wav", "b/song.wav", "-o", "out", "-n", tiny_model)
    assert outcome.code == 1
    assert "a/song.wav and b/song.wav would have the same stems" in outcome.err[0]
    assert not Path("out").exists()
    assert duetto("separate", ".", "-o", "out", "-n", tiny_model).code == 0


@pytest.mark.parametrize("options", first(2, (), ("--format", "flac"), ("-j", "2")))
def test_stems_of_another_song_are_overwritten_only_on_demand(
    options: tuple[str, ...], tiny_model: Path
) -> None:
    for k, name in enumerate(["a/song.wav", "b/song.wav", "b/other.wav"]):
        write_song(name, noise(2, 4000, seed=k))
    both = ("-o", "out", "-n", tiny_model, *options)
    first = duetto("separate", "a/song.wav", *both)
    made = stems(Path("out"))
    outcome = duetto("separate", "b/song.wav", "b/other.wav", *both)
    assert outcome.code == 1
    assert [line.split("/")[-2] for line in outcome.out] == ["other", "other"]
    assert f"b/song.wav: {first.out[0]} exists and is a stem of {Path('a/song.wav').absolute()}" in " ".join(
        outcome.err
    )
    assert made.items() <= stems(Path("out")).items()
    assert duetto("separate", "b/song.wav", *both, "--overwrite").code == 0
    assert made["tiny/song/" + Path(first.out[0]).name] != Path(first.out[0]).read_bytes()
    assert duetto("separate", "b/song.wav", *both).err[0].startswith("duetto: 0 of 1 songs separated; 1 skip")
    assert duetto("separate", "a/song.wav", *both).code == 1


def test_a_song_that_was_moved_may_overwrite_its_stems(tiny_model: Path) -> None:
    write_song("a/song.wav")
    first = duetto("separate", "a/song.wav", "-n", tiny_model)
    Path("a").rename("b")
    assert duetto("separate", "b/song.wav", "-n", tiny_model) == first


def test_one_path_is_one_song(separator: Separator, here: Path) -> None:
    """A string is no sequence of names of one letter, such as "." for the folder and all songs in it."""
    write_song("song.wav")
    write_song("private/secret.wav")
    done: list[str] = []
    for song in ("song.wav", Path("song.wav"), f"file://{here}/song.wav"):
        separate_files(song, "out", separator=separator, on_done=lambda record, _: done.append(record.song))
    assert done == [str(here / "song.wav")] * 3


SCRIPT = """
import duetto
print(duetto.separate_files(["a.wav", "b.wav"], "out", separator=duetto.Separator("tiny.onnx"), jobs=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_program_whose_workers_cannot_start_ends(how: str, tiny_model: Path) -> None:
    """Without a guarded main part, or without a file, a worker ends before it has read its work."""
    for name in ("a.wav", "b.wav"):
        write_song(name)
    Path("tiny.onnx").write_bytes(tiny_model.read_bytes())
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py" if how == "file" else "-"],
        input=f"if __name__ == '__main__':{SCRIPT.replace(chr(10), chr(10) + '    ')}",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert 'guard its main part by if __name__ == "__main__"' in done.stderr.splitlines()[-1]
    assert stems(Path("out")) == {}


def test_a_daemonic_process_starts_no_workers(separator: Separator, monkeypatch: pytest.MonkeyPatch) -> None:
    write_songs(Path("music"), 2)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="jobs=2: this is a daemonic process"):
        separate(separator, jobs=2)
    assert separate(separator) == ["done"] * 2


def test_a_batch_of_one_stem_or_a_mix(separator: Separator) -> None:
    write_songs(Path("music"), 2)
    assert separate(separator, options=FileOptions(stems=("vocals",))) == ["done"] * 2
    assert (
        separate(separator, options=FileOptions(mix={"vocals": -6.0, "accompaniment": 0.0})) == ["done"] * 2
    )
    assert sorted({Path(path).name for path in stems(Path("out"))}) == ["mix.wav", "vocals.wav"]
    one, mixed = (record for record in records(Path("out")) if "000" in record["song"])
    assert (one["null_residual"], mixed["null_residual"]) == (None, None)
    assert 0.1 < one["outputs"]["vocals"]["peak"] <= 0.6
    assert (
        separate(separator, options=FileOptions(mix={"vocals": -6.0, "accompaniment": 0.0}))
        == ["skipped"] * 2
    )


def test_a_folder_that_cannot_be_written(tiny_model: Path) -> None:
    write_songs(Path("music"), 1)
    Path("out").mkdir()
    Path("out/manifest.jsonl").mkdir()
    outcome = duetto("separate", "music", "-o", "out", "-n", tiny_model)
    assert (outcome.code, outcome.out) == (1, [])
    assert outcome.err == [
        "duetto: out/manifest.jsonl cannot be written: Is a directory; choose another output folder"
    ]


def test_a_terminal_shows_how_far_and_how_fast_a_batch_is(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(Path("music"), 3)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        main(["separate", "music", "-o", "out", "-n", str(tiny_model)])
    signal.signal(signal.SIGTERM, handler)
    assert end.value.code == 0
    assert "3 songs" in terminal.shown
    assert re.search(r"33%.* \d+ x real time", terminal.shown)
    assert "100%" in terminal.shown
    assert terminal.shown.splitlines()[-1].startswith("duetto: 3 of 3 songs separated; ")


def test_batches_refuse_what_they_cannot_do(separator: Separator) -> None:
    write_songs(Path("music"), 1)
    with pytest.raises(ConfigError, match="jobs=0"):
        separate(separator, jobs=0)
    with pytest.raises(ConfigError, match="give a Separator of a name or path"):
        separate(Separator(TinyModel()))
    assert not Path("out").exists()


def test_an_empty_batch_is_done(separator: Separator) -> None:
    summary = separate_files([], "out", separator=separator, jobs=4)
    assert (summary.n_songs, summary.n_finished, summary.audio_seconds) == (0, 0, 0)


def test_a_bundle_crosses_processes_without_its_file(tiny_model: Path, here: Path) -> None:
    import pickle

    copied = here / "copied.onnx"
    copied.write_bytes(tiny_model.read_bytes())
    sent = pickle.dumps(OnnxModel(copied))
    copied.unlink()
    assert pickle.loads(sent).sha256 == OnnxModel(tiny_model).sha256
