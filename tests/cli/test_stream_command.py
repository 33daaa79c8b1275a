"""`duetto stream`: what comes out of the pipe, when, and how it ends."""

import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto.separation.separator import Separator
from helpers.command_line import command, duetto

RATE = 16000


@pytest.fixture
def model(tiny_stateful_model: Path) -> Path:
    return tiny_stateful_model


@pytest.fixture
def song(rng: np.random.Generator) -> NDArray[np.int16]:
    """Interleaved, so (n_samples, n_channels), with both ends of the range in it."""
    samples = rng.integers(-(2**15), 2**15, (20_000, 2), dtype=np.int16)
    samples[:2] = [[-(2**15), 2**15 - 1], [2**15 - 1, -(2**15)]]
    return samples


def arguments(model: Path, *options: str) -> list[str]:
    return ["stream", "--rate", str(RATE), "--channels", "2", "--model", os.fspath(model), *options]


def run(model: Path, data: bytes, *options: str) -> tuple[int, bytes, list[str]]:
    done = duetto(*arguments(model, *options), stdin=data)
    return done.code, done.out_bytes, done.err


def test_integers_in_integers_out_that_sum_to_the_input(model, song):
    """Vocals and accompaniment of two runs, and both of a third, with blocks of other lengths."""
    options = ["--stem", "vocals"], ["--block", "1"], ["--stem", "both", "--block", "333"]
    outputs = []
    for option in options:
        code, out, err = run(model, song.tobytes(), *option)
        assert code == 0
        assert err == ["duetto: 3 samples clipped; --format f32 avoids it"]
        outputs.append(np.frombuffer(out, "<i2").reshape(len(song), -1))
    vocals, accompaniment, both = outputs
    assert np.array_equal(vocals.astype(int) + accompaniment, song)
    assert np.array_equal(both, np.concatenate([vocals, accompaniment], axis=1))
    expected = Separator(model).separate(song.T / np.float32(2**15), RATE)["vocals"].T
    assert np.count_nonzero(np.abs(vocals / 2**15 - expected) > 2**-15) <= 3  # the clipped ones


def test_floats_in_floats_out(model, song):
    floats = (song / 2**14).astype("<f4")  # up to twice full scale: nothing is clipped
    code, out, err = run(model, floats.tobytes(), "--format", "f32", "--stem", "both")
    assert (code, err) == (0, [])
    both = np.frombuffer(out, "<f4").reshape(len(song), 4)
    np.testing.assert_allclose(both[:, :2] + both[:, 2:], floats, atol=2.4e-7)
    assert np.abs(both[:, :2]).max() > 0.1


def read_within(stream, n_bytes: int, seconds: float) -> bytes:
    found = b""
    while len(found) < n_bytes and select.select([stream], [], [], seconds)[0]:
        piece = os.read(stream.fileno(), n_bytes - len(found))
        if not piece:
            break
        found += piece
    return found


def start(model: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments(model, *options)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


@pytest.mark.slow
def test_what_is_done_comes_out_while_the_input_goes_on(model, song):
    behind = duetto(*arguments(model, "--latency"))
    assert behind.out == ["116 ms"]
    n_due = len(song) - round(0.116 * RATE)
    with start(model) as child:
        child.stdin.write(song.tobytes())
        assert len(read_within(child.stdout, 4 * n_due, 60)) == 4 * n_due
        child.stdin.close()
        assert len(child.stdout.read()) == 4 * (len(song) - n_due)
        assert child.wait(60) == 0


def test_half_a_sample_frame_at_the_end_is_said_and_the_rest_is_written(model, song):
    code, out, err = run(model, song.tobytes() + b"abc")
    assert code == 1
    assert len(out) == song.nbytes
    assert err[-1].startswith("duetto: the input ended with 3 of the 4 bytes")
    assert run(model, b"abc")[:2] == (1, b"")


def test_no_input_no_output(model):
    assert run(model, b"") == (0, b"", [])


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(model, song):
    with start(model) as child:
        child.stdin.write(song.tobytes()[:40_000])
        assert len(read_within(child.stdout, 1000, 60)) == 1000
        child.stdout.close()
        try:
            for _ in range(100):
                child.stdin.write(song.tobytes())
        except BrokenPipeError:
            pass
        child.stdin.close()
        assert child.wait(60) == 141
        assert child.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_after_whole_samples(model, song, number, code, word):
    with start(model) as child:
        child.stdin.write(song.tobytes()[:40_000])
        assert read_within(child.stdout, 1000, 60)
        child.send_signal(number)
        assert child.wait(60) == code
        assert len(child.stdout.read()) % 4 == 0
        assert child.stderr.read().decode().split() == ["duetto:", word]


def test_a_bad_sample_is_an_error(model):
    code, _, err = run(model, np.array([0, np.nan], "<f4").tobytes(), "--format", "f32")
    assert code == 1
    assert "NaN" in err[0]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--channels", "2"], 2, "--rate"),
        (["--rate", "16000"], 2, "--channels"),
        (["--rate", "16000", "--channels", "0"], 2, "--channels"),
        (["--rate", "16000", "--channels", "2", "--format", "mp3"], 2, "--format"),
        (["--rate", "16000", "--channels", "2", "--block", "0"], 2, "--block"),
        (["--rate", "4000", "--channels", "2", "--latency"], 1, "sample rate 4000"),
    ],
)
def test_wrong_usage_is_named(model, options, code, said):
    outcome = duetto("stream", "--model", model, *options)
    assert outcome.code == code
    assert said in outcome.err[-1]


@pytest.mark.slow
def test_a_terminal_is_no_source_of_samples(model):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command(*arguments(model)), stdin=theirs, capture_output=True, text=True, timeout=60, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "pipes" in done.stderr
