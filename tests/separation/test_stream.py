"""Streams: what they give, how late, from how many threads, and how they end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import load_audio
from duetto.cli.separate import EXAMPLE
from duetto.errors import AudioError, ModelError
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.quick import at_most
from helpers.signals import Waveform, decibels, noise
from helpers.streams import cut, lags, streamed
from helpers.tiny import TinyModel, write_model

WHOLE = 1000.0  # seconds; no song here is longer
RATES = (8000, 16000, 22050, 44100, 48000, 192000)


@pytest.fixture(scope="module")
def path(tiny_stateful_model):
    return tiny_stateful_model


@at_most(12)
@given(
    lengths=st.lists(st.one_of(st.integers(1, 30), st.integers(31, 9000)), min_size=1, max_size=8),
    n_channels=st.sampled_from([1, 2, 5]),
    rate=st.sampled_from(RATES),
    mask=st.sampled_from(["ratio", "binary"]),
)
def test_a_stream_is_one_pass_over_the_whole_however_it_is_cut(path, lengths, n_channels, rate, mask):
    audio = noise(n_channels, sum(lengths))
    separator = Separator(path, mask=mask, segment_seconds=WHOLE)
    found = streamed(separator, cut(audio, lengths), rate)
    assert all(stem.shape == audio.shape and stem.dtype == np.float32 for stem in found.values())
    np.testing.assert_allclose(sum(found.values()), audio, atol=1.2e-7)
    if mask == "ratio":  # a tie that rounding decides moves a whole bin
        expected = separator.separate(audio, rate)
        np.testing.assert_allclose(found["vocals"], expected["vocals"], atol=1e-5)
        assert decibels(found["vocals"] - expected["vocals"], audio) < -100
    in_one = streamed(separator, iter([audio]), rate)
    assert all(found[name].tobytes() == in_one[name].tobytes() for name in found)


def test_the_state_matters(path):
    """The network would answer otherwise without its past, so the tests here see whether it is carried."""
    audio = noise(1, 40_000)
    whole = Separator(path, segment_seconds=WHOLE).separate(audio, 16000)["vocals"][:, 20_480:]
    without = Separator(path, segment_seconds=WHOLE).separate(audio[:, 20_480:], 16000)["vocals"]
    assert decibels((without - whole)[:, :4000], whole[:, :4000]) > -30


def test_drnn_gives_the_same_stems_in_a_stream():
    audio, rate = load_audio(EXAMPLE)
    audio = audio[:, : 2 * rate]
    separator = Separator("drnn")
    found = streamed(separator, cut(audio, [rate // 50] * 100), rate)
    assert decibels(found["vocals"] - separator.separate(audio, rate)["vocals"], found["vocals"]) < -100


@pytest.mark.parametrize("rate", RATES)
def test_a_stream_lags_as_little_as_it_says(path, rate):
    separator = Separator(path)
    stated = separator.latency_seconds(rate) * rate
    seen = max(lags(separator, rate, rate // 500, 200))
    assert stated - rate / 500 - 1 <= seen <= stated + 1e-6


def test_segments_lag_as_little_as_is_said():
    separator = Separator(TinyModel(), segment_seconds=2, overlap_seconds=0.5)
    stated = separator.latency_seconds(16000) * 16000
    assert stated == pytest.approx(2 * 16000, abs=512)
    assert stated - 161 <= max(lags(separator, 16000, 160, 600)) <= stated


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
def test_drnn_is_96_ms_late_with_any_number_of_passes(rate):
    assert Separator("drnn").latency_seconds(rate) == pytest.approx(0.096, abs=1e-3)
    assert Separator("drnn", n_passes=3).latency_seconds(rate) == pytest.approx(0.096 * 1.05, abs=2e-3)


def test_griffin_lim_takes_segments(path):
    separator = Separator(path, griffin_lim_iterations=2, segment_seconds=1, overlap_seconds=0.25)
    assert separator.latency_seconds(16000) == pytest.approx(1, abs=0.04)
    audio = noise(1, 40_000)
    found = streamed(separator, cut(audio, [10_000] * 4), 16000)
    assert np.array_equal(found["vocals"], separator.separate(audio, 16000)["vocals"])


@pytest.mark.parametrize("rate", [0, 4000, 44100.5])
def test_a_latency_at_no_rate_is_refused(path, rate):
    with pytest.raises(AudioError, match="sample rate"):
        Separator(path).latency_seconds(rate)


def test_blocks_may_share_a_buffer_and_are_not_changed(path):
    audio, buffer = 50 * noise(2, 20_000), np.empty((2, 500), np.float32)

    def blocks() -> Iterator[Waveform]:
        for block in cut(audio, [500] * 40):
            buffer[:] = block
            yield buffer
            assert np.array_equal(buffer, block)

    found = streamed(Separator(path), blocks(), 16000)
    np.testing.assert_allclose(sum(found.values()), audio, atol=1e-5)


def test_nothing_in_nothing_out_and_one_shape(path):
    assert list(Separator(path).stream([], 16000)) == []
    with pytest.raises(AudioError, match="2 channels, those before it 1"):
        list(Separator(path).stream([noise(1, 9), noise(2, 9)], 16000))
    with pytest.raises(AudioError, match="NaN"):
        list(Separator(path).stream([np.array([[0, np.nan]])], 16000))


def test_threads_may_share_a_separator_for_all_it_does(path, tmp_path):
    """Songs, streams and files at once, each with its own bytes."""
    separator = Separator(path, segment_seconds=1, overlap_seconds=0.25)
    songs = [noise(2, 25_000, seed) for seed in range(3)]
    for seed, song in enumerate(songs):
        soundfile.write(tmp_path / f"{seed}.wav", song.T, 16000, "FLOAT")

    def work(job: tuple[str, int]) -> bytes:
        kind, seed = job
        match kind:
            case "separate":
                vocals = separator.separate(songs[seed], 16000)["vocals"]
            case "stream":
                vocals = streamed(separator, cut(songs[seed], [5000] * 5), 16000)["vocals"]
            case _:
                options = FileOptions(template=f"{{track}}-{threading.get_ident()}-{{stem}}.{{ext}}")
                done = separator.separate_file(tmp_path / f"{seed}.wav", tmp_path, options)
                vocals = load_audio(done.paths["vocals"])[0]
        return vocals.tobytes()

    jobs = [(kind, seed) for kind in ("separate", "stream", "file") for seed in range(3)]
    alone = [work(job) for job in jobs]
    assert len(set(alone)) == 6  # a file's stems are those of its waveform
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, jobs)) == alone


@pytest.mark.parametrize("n_threads", [1, 3, 7])
def test_the_number_of_threads_changes_no_byte(path, n_threads):
    audio = noise(2, 60_000)
    separators = (
        Separator(path, segment_seconds=0.5, overlap_seconds=0.1, n_threads=n) for n in (None, n_threads)
    )
    expected, found = (separator.separate(audio, 16000)["vocals"].tobytes() for separator in separators)
    assert found == expected


def test_a_large_input_is_not_changed(path, tmp_path):
    audio = 1e4 * noise(2, 100_000)
    before = audio.tobytes()
    audio.flags.writeable = False
    for separator in (Separator(path), Separator(path, griffin_lim_iterations=1)):
        stems = separator.separate(audio, 16000)
        assert not any(np.shares_memory(stem, audio) for stem in stems.values())
        stems["vocals"][:] = 0
        list(separator.stream([audio], 16000))
    assert audio.tobytes() == before


class Counting(TinyModel):
    def __init__(self) -> None:
        self.n_calls = 0

    def masks(self, magnitude):
        self.n_calls += 1
        return super().masks(magnitude)


class CancelledError(Exception):
    pass


def cancel(done: int, total: int) -> None:
    assert 0 < done < total
    raise CancelledError


@pytest.mark.parametrize("method", ["array", "file"])
def test_an_exception_of_progress_cancels_at_once(tmp_path, method):
    network = Counting()
    separator = Separator(network, segment_seconds=1, overlap_seconds=0.25)
    audio = noise(1, 100 * 8000)
    soundfile.write(tmp_path / "song.flac", audio.T, 8000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "vocals.flac").write_bytes(b"old")
    n_threads = threading.active_count()
    options = FileOptions(template="{stem}.{ext}")
    work = {
        "array": lambda: separator.separate(audio, 8000, progress=cancel),
        "file": lambda: separator.separate_file(
            tmp_path / "song.flac", tmp_path / "out", options, progress=cancel
        ),
    }
    with pytest.raises(CancelledError):
        work[method]()
    assert threading.active_count() == n_threads  # at once, not when the exception is forgotten
    assert network.n_calls < 20
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {"vocals.flac": b"old"}


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_ends_when_its_reader_leaves(path, live):
    separator = Separator(path if live else Counting(), segment_seconds=1, overlap_seconds=0.25)
    n_threads, n_blocks = threading.active_count(), 0

    def blocks() -> Iterator[Waveform]:
        nonlocal n_blocks
        while True:
            n_blocks += 1
            yield noise(1, 8000)

    stream = separator.stream(blocks(), 8000)
    next(stream)
    stream.close()
    assert threading.active_count() == n_threads
    assert n_blocks < 4


def test_a_failing_source_ends_a_stream_with_its_error(path):
    def blocks() -> Iterator[Waveform]:
        yield noise(1, 8000)
        raise OSError("the microphone was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        list(Separator(path).stream(blocks(), 8000))


@pytest.mark.slow
def test_the_default_model_gives_the_same_stems_in_a_stream():
    audio, rate = load_audio(EXAMPLE)
    song = np.concatenate([audio, 0.5 * audio], axis=-1)
    separator = Separator("duetto")
    whole = separator.separate(song, rate)["vocals"]
    np.testing.assert_array_equal(
        streamed(separator, iter(np.array_split(song, 41, axis=-1)), rate)["vocals"], whole
    )


def test_a_state_that_the_graph_has_not_is_refused(tmp_path):
    with pytest.raises(ModelError, match="its graph fails"):
        Separator(write_model(tmp_path / "tiny.onnx", first_frames=2))
    with pytest.raises(ModelError, match="'stream_frames' is 1"):
        Separator(write_model(tmp_path / "tiny.onnx", stream_frames=1))
