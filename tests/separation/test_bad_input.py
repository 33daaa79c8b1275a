"""Whatever is handed in: one clear line, the right exit code, no partial file, and the batch goes on."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.command_line import Outcome, command, duetto, duetto_apart
from helpers.files import write_song, written
from helpers.signals import noise
from helpers.tiny import write_model

RATE = 16000


pytestmark = pytest.mark.usefixtures("here")


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def assert_one_line(outcome: Outcome, *words: str, code: int = 1) -> None:
    assert outcome.code == code, outcome
    assert len(outcome.err) == 1, outcome.err
    assert outcome.err[0].startswith("duetto: ")
    for word in words:
        assert word in outcome.err[0]
    assert outcome.out == []


def missing() -> None:
    """The song is not made at all."""


def infinite(value: float) -> None:
    samples = noise(1, 8000, amplitude=0.5)
    samples[0, 4321] = value
    write_song("odd.wav", samples, subtype="FLOAT")


UNREADABLE = {
    "missing": (missing, "does not exist"),
    "directory": (lambda: Path("odd.wav").mkdir(), "no audio files in this folder"),
    "empty file": (lambda: Path("odd.wav").touch(), "is empty"),
    "text file": (lambda: Path("odd.wav").write_text("la la la\n" * 50), "not an audio file"),
    "zero samples": (lambda: write_song("odd.wav", np.zeros((1, 0))), "no samples"),
    "NaN": (lambda: infinite(np.nan), "NaN"),
    "infinity": (lambda: infinite(np.inf), "inf"),
    "truncated WAV": (lambda: cut(write_song("odd.wav")), "truncated"),
    "header alone": (lambda: cut(write_song("odd.wav"), 0.002), "odd.wav"),
    "truncated FLAC": (lambda: cut(write_song("odd.flac", noise(1, 60000))).rename("odd.wav"), "truncated"),
    "4 kHz": (lambda: write_song("odd.wav", sample_rate=4000), "4000"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_song_that_cannot_be_read(case: str, tiny_model: Path) -> None:
    make, reason = UNREADABLE[case]
    make()
    assert_one_line(duetto("separate", "odd.wav", "-o", "out", "-n", tiny_model), "odd.wav", reason)
    assert written("out") == []


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_batch_goes_on_with_the_rest(case: str, tiny_model: Path) -> None:
    UNREADABLE[case][0]()
    songs = write_song("first.wav"), Path("odd.wav"), write_song("last.flac")
    outcome = duetto("separate", *songs, "-o", "out", "-n", tiny_model)
    assert outcome.code == 1
    assert len(outcome.err) == 2
    assert "odd.wav" in outcome.err[0]
    assert outcome.err[1].startswith("duetto: 2 of 3 songs separated; 1 failed; 1 s of audio in ")
    assert written("out") == [
        "tiny/first/accompaniment.wav",
        "tiny/first/vocals.wav",
        "tiny/last/accompaniment.flac",
        "tiny/last/vocals.flac",
    ]
    assert sorted(outcome.out) == [f"out/{path}" for path in written("out")]


ODD_BUT_FINE = {
    "silence": (np.zeros((2, 8000)), RATE),
    "DC": (np.full((1, 8000), 0.25), RATE),
    "one sample": (noise(1, 1, amplitude=0.5), RATE),
    "shorter than a frame": (noise(1, 300, amplitude=0.5), RATE),
    "192 kHz": (noise(2, 50000, amplitude=0.5), 192000),
    "8 channels": (noise(8, 8000, amplitude=0.5), 44100),
    "full scale": (np.sign(noise(1, 8000, amplitude=0.5)), RATE),
}


@pytest.mark.parametrize("case", ODD_BUT_FINE)
def test_odd_audio_is_separated(case: str, tiny_model: Path) -> None:
    samples, rate = ODD_BUT_FINE[case]
    path = write_song("odd.wav", samples, sample_rate=rate)
    outcome = duetto("separate", path, "-o", "out", "-n", tiny_model)
    assert outcome.code == 0
    assert_stems_sum_to(path, outcome)
    assert outcome.err in ([], [line for line in outcome.err if "clipped" in line])


def assert_stems_sum_to(path: Path, outcome: Outcome) -> None:
    assert len(outcome.out) == 2
    whole, rate = soundfile.read(path, dtype="int16", always_2d=True)
    total = np.zeros(whole.shape, np.int64)
    for line in outcome.out:
        stem, stem_rate = soundfile.read(line, dtype="int16", always_2d=True)
        assert (stem.shape, stem_rate) == (whole.shape, rate)
        assert soundfile.info(line).subtype == "PCM_16"
        total += stem
    np.testing.assert_array_equal(total, whole)


@pytest.mark.parametrize(
    "name", ["Ærøskøbing 夜曲 🎵.wav", " two  spaces .wav", "-n.wav", "a\nb.wav", "%s{stem}.wav"]
)
def test_names_of_all_scripts(name: str, tiny_model: Path) -> None:
    path = write_song(name)
    outcome = duetto("separate", "-o", "out", "-n", tiny_model, "--", path)
    assert outcome.code == 0
    track = name.removesuffix(".wav")
    assert written("out") == [f"tiny/{track}/accompaniment.wav", f"tiny/{track}/vocals.wav"]


def test_a_name_of_255_bytes(tiny_model: Path) -> None:
    path = write_song("ø" * 125 + "a.wav")
    assert len(path.name.encode()) == 255
    outcome = duetto("separate", path, "-o", "out", "-n", tiny_model)
    assert outcome.code == 0
    assert_stems_sum_to(path, outcome)


@pytest.mark.slow
def test_a_name_that_is_not_unicode_is_printed_as_it_is(here: Path, tiny_model: Path) -> None:
    path = here / "caf\udce9.wav"
    try:
        write_song("cafe.wav").rename(path)
    except OSError:
        pytest.skip("the file system takes Unicode names alone")
    outcome = duetto_apart("separate", path, "-o", "out", "-n", tiny_model)
    assert outcome.code == 0
    assert sorted(outcome.out) == ["out/tiny/caf\udce9/accompaniment.wav", "out/tiny/caf\udce9/vocals.wav"]
    assert "caf" in duetto_apart("separate", "caf\udce8.wav", "-n", tiny_model).err[0]


def test_a_stem_whose_name_would_be_too_long(tiny_model: Path) -> None:
    path = write_song("x" * 251 + ".wav")
    outcome = duetto("separate", path, "-o", "out", "-n", tiny_model, "--template", "{track}-{stem}.{ext}")
    assert_one_line(outcome, "File name too long")
    assert written("out") == []


def test_an_output_folder_below_a_file(tiny_model: Path) -> None:
    Path("file").write_text("in the way")
    outcome = duetto("separate", write_song("song.wav"), "-o", "file/out", "-n", tiny_model)
    assert_one_line(outcome, "file/out", "cannot be written")
    assert Path("file").read_text() == "in the way"


def test_a_stem_that_would_replace_the_song(tiny_model: Path) -> None:
    path = write_song("out/vocals.wav")
    content = path.read_bytes()
    outcome = duetto("separate", path, "-o", "out", "-n", tiny_model, "--template", "{stem}.{ext}")
    assert_one_line(outcome, "vocals.wav", "overwrite")
    assert written("out") == ["vocals.wav"]
    assert path.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("container", ["wav", "flac", "mp3"])
def test_a_full_disk(tiny_model: Path, container: str) -> None:
    path = write_song("song.wav", noise(1, 60 * RATE, amplitude=0.5))
    outcome = duetto_apart(
        "separate", path, "-o", "out", "-n", tiny_model, "--format", container,
        before="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))",
    )  # fmt: skip
    assert_one_line(outcome, "out/tiny/song/", "cannot be written", "File too large")
    assert written("out") == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_partial_file(tiny_model: Path, number: signal.Signals, code: int) -> None:
    path = write_song("song.wav", np.tile(noise(1, 44100, amplitude=0.5), 300), sample_rate=44100)
    process = subprocess.Popen(
        command("separate", path, "-o", "out", "-n", tiny_model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(part.stat().st_size > 1e5 for part in Path("out").rglob(".*.part")):
            break
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == b""
    assert err.split() == [b"duetto:", b"interrupted" if code == 130 else b"terminated"]
    assert written("out") == []


def test_an_unknown_model() -> None:
    assert_one_line(duetto("separate", write_song("song.wav"), "-n", "nonesuch"), "nonesuch")
    assert not Path("separated").exists()


def test_a_damaged_bundle(here: Path, tiny_model: Path) -> None:
    damaged = here / "damaged.onnx"
    damaged.write_bytes(tiny_model.read_bytes()[:-400])
    assert_one_line(duetto("separate", write_song("song.wav"), "-n", damaged), "damaged.onnx")
    assert_one_line(duetto("models", damaged), "damaged.onnx")
    assert not Path("separated").exists()


def test_a_model_that_answers_otherwise_than_at_export(here: Path) -> None:
    damaged = write_model(here / "other.onnx", probe=[0.5] * 8)
    assert_one_line(duetto("models", damaged, "--verify"), "other.onnx", "damaged")


def test_a_newer_model_file(here: Path) -> None:
    newer = write_model(here / "newer.onnx", format_version=99)
    outcome = duetto("separate", write_song("song.wav"), "-n", newer)
    assert_one_line(outcome, "newer.onnx", "install a newer version")


@pytest.mark.parametrize("template", ["{artist}/{stem}.wav", "{stem", "{track}.wav"])
def test_a_template_that_cannot_be_used(template: str, tiny_model: Path) -> None:
    path = write_song("song.wav")
    assert_one_line(duetto("separate", path, "-n", tiny_model, "--template", template), template)
    assert not Path("separated").exists()


def test_two_songs_with_the_same_stems(tiny_model: Path) -> None:
    songs = write_song("a/song.wav"), write_song("b/song.wav")
    assert_one_line(
        duetto("separate", *songs, "-o", "out", "-n", tiny_model),
        "a/song.wav",
        "b/song.wav",
        "another output folder",
    )
    assert written("out") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["separate"], "Name at least one song"),
        (["separate", "--mask", "hard", "song.wav"], "'hard'"),
        (["separate", "--loud", "song.wav"], "--loud"),
        (["seperate", "song.wav"], "seperate"),
        (["evaluate", "mir1k"], "--data"),
        (["plot", "song.wav", "--max-frequency", "0"], "--max-frequency"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str) -> None:
    outcome = duetto(*arguments)
    assert_one_line(outcome, reason, "--help", code=2)


@pytest.mark.slow
def test_exit_codes_of_a_process(tiny_model: Path) -> None:
    assert duetto_apart("separate", "missing.wav", "-n", tiny_model).code == 1
    assert duetto_apart("separate").code == 2
    assert duetto_apart("separate", write_song("song.wav"), "-n", tiny_model).code == 0


@pytest.mark.slow
def test_a_reader_of_the_results_that_has_gone(tiny_model: Path) -> None:
    songs = [write_song(f"{k}.wav") for k in range(3)]
    process = subprocess.Popen(
        command("separate", *songs, "-o", "out", "-n", tiny_model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1


def pairs(*names: str) -> Path:
    for name in names:
        write_song(f"data/{name}.wav", noise(1, 4000, amplitude=0.5))
    return Path("data")


def evaluate(dataset: str, tiny_model: Path, *arguments: str) -> Outcome:
    return duetto("evaluate", dataset, "--data", "data", "-n", tiny_model, "-o", "out", *arguments)


def test_a_dataset_folder_that_is_missing(tiny_model: Path) -> None:
    assert_one_line(evaluate("mir1k", tiny_model), "data", "not a directory")
    assert_one_line(evaluate("mir1k", tiny_model, "--split", "tset"), "'tset'", "test")
    assert_one_line(evaluate("mir2k", tiny_model), "'mir2k'", "did you mean 'mir1k'?")
    assert written("out") == []


def test_a_dataset_folder_with_missing_files(tiny_model: Path) -> None:
    pairs("vocals/a", "vocals/b", "accompaniment/a")
    assert_one_line(evaluate("pairs", tiny_model, "--split", "all"), "data lacks accompaniment/b")
    Path("data/test/song").mkdir(parents=True)
    assert_one_line(evaluate("musdb", tiny_model), "song", "lacks")
    assert written("out") == []


def test_a_dataset_folder_with_odd_files(tiny_model: Path) -> None:
    folder = pairs("vocals/a", "accompaniment/a", "vocals/b", "accompaniment/b")
    (folder / "vocals" / "b.wav").write_text("la la la")
    assert_one_line(evaluate("pairs", tiny_model, "--split", "all"), "b.wav", "not an audio file")
    write_song("data/vocals/b.wav", noise(1, 4001, amplitude=0.5))
    assert_one_line(evaluate("pairs", tiny_model, "--split", "all"), "b.wav has 4001 samples")
    write_song("data/vocals/b.wav", noise(1, 4000, amplitude=0.5), sample_rate=44100)
    assert_one_line(evaluate("pairs", tiny_model, "--split", "all"), "44100 Hz")
    assert_one_line(evaluate("mir1k", tiny_model, "--split", "all"), "data lacks 175 clips")
    write_song("data/unnamed.wav", noise(2, 4000, amplitude=0.5))
    assert_one_line(evaluate("mir1k", tiny_model), "unnamed.wav", "the name should be")
    assert written("out") == []


@pytest.mark.slow
def test_scores_that_cannot_be_written(tiny_model: Path) -> None:
    pairs("vocals/a", "accompaniment/a")
    Path("out").write_text("in the way")
    assert_one_line(evaluate("pairs", tiny_model, "--split", "all"), "out", "Not a directory")


def test_a_recipe_that_is_wrong() -> None:
    def train(*arguments: str) -> Outcome:
        return duetto("train", *arguments, "--data", "data", "-o", "out")

    Path("own.toml").write_text("[network]\nhiden_size = 10\n")
    assert_one_line(train("own.toml"), "network.hiden_size", "did you mean network.hidden_size?")
    assert_one_line(train("drnn", "--set", "run.n_step=1"), "run.n_step", "did you mean run.n_steps?")
    assert_one_line(train("drnn", "--set", "run.n_steps=-1"), "run.n_steps", "-1")
    assert_one_line(train("drnn", "--set", "nonsense"), "nonsense")
    assert_one_line(train("drn"), "'drn'", "drnn")
    Path("own.toml").write_text("network = [")
    assert_one_line(train("own.toml"), "own.toml", "TOML")
    assert_one_line(train("drnn"), "data")
    assert_one_line(duetto("export", "nothing"), "nothing")
    assert written("out") == []


def test_a_picture_that_cannot_be_drawn(tiny_model: Path) -> None:
    path = write_song("song.wav")
    assert_one_line(duetto("plot", path, "-n", tiny_model, "-o", "song.doc"), "song.doc", ".png")
    assert_one_line(duetto("plot", path, "-n", tiny_model, "-o", "song.wav/a.png"), "song.wav")
    assert_one_line(duetto("plot", "missing.wav", "-n", tiny_model), "missing.wav", "does not exist")
    assert written(".") == ["song.wav"]
