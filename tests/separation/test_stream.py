"""Streams: what they give, how late, from how many threads, and how they end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from duetto.audio import load_audio
from duetto.cli.separate import EXAMPLE
from duetto.errors import AudioError, ModelError
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.tiny import METADATA, TinyEstimator, write_model, write_stateful_model

WHOLE = 1000.0  # seconds; no song here is longer
RATES = (8000, 16000, 22050, 44100, 48000, 192000)
Waveform = NDArray[np.float32]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stateful_model(tmp_path_factory.mktemp("models") / "tiny.onnx")


def noise(n_channels: int, n_samples: int, seed: int = 0) -> Waveform:
    return np.random.default_rng(seed).uniform(-1, 1, (n_channels, n_samples)).astype(np.float32)


def decibels(part: Waveform, whole: Waveform) -> float:
    return float(20 * np.log10(np.linalg.norm(part) / np.linalg.norm(whole) + 1e-12))


def cut(audio: Waveform, lengths: list[int]) -> Iterator[Waveform]:
    return (audio[:, a:b] for a, b in pairwise(np.cumsum([0, *lengths])))


def streamed(separator: Separator, blocks: Iterator[Waveform], rate: int) -> dict[str, Waveform]:
    found = list(separator.stream(blocks, rate))
    assert all(block["vocals"].shape[-1] for block in found)
    return {name: np.concatenate([block[name] for block in found], axis=-1) for name in found[0]}


@settings(deadline=None, max_examples=40)
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


def test_the_default_model_streams_what_it_separates():
    audio, rate = load_audio(EXAMPLE)
    audio = audio[:, : 4 * rate]
    separator = Separator("drnn")
    found = streamed(separator, cut(audio, [rate // 50] * 200), rate)
    assert decibels(found["vocals"] - separator.separate(audio, rate)["vocals"], found["vocals"]) < -100


def lags(separator: Separator, rate: int, block: int, n_blocks: int) -> list[int]:
    """Samples that are in but not out, whenever the stream asks for more."""
    n_in, n_out, found = 0, 0, []

    def blocks() -> Iterator[Waveform]:
        nonlocal n_in
        for _ in range(n_blocks):
            found.append(n_in - n_out)
            n_in += block
            yield noise(1, block)

    for stems in separator.stream(blocks(), rate):
        n_out += stems["vocals"].shape[-1]
    return found


@pytest.mark.parametrize("rate", RATES)
def test_a_stream_lags_as_little_as_it_says(path, rate):
    separator = Separator(path)
    stated = separator.latency_seconds(rate) * rate
    seen = max(lags(separator, rate, rate // 500, 200))
    assert stated - rate / 500 - 1 <= seen <= stated + 1e-6


def test_segments_lag_as_little_as_is_said():
    separator = Separator(TinyEstimator(), segment_seconds=2, overlap_seconds=0.5)
    stated = separator.latency_seconds(16000) * 16000
    assert stated == pytest.approx(2 * 16000, abs=512)
    assert stated - 161 <= max(lags(separator, 16000, 160, 600)) <= stated


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
def test_the_default_model_is_quicker_than_150_ms(rate):
    assert Separator("drnn").latency_seconds(rate) < 0.1


def test_griffin_lim_needs_segments(path):
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


@pytest.fixture(scope="module")
def minute() -> tuple[Waveform, int]:
    """The example song over and over, each time softer or louder."""
    audio, rate = load_audio(EXAMPLE)
    return np.concatenate([gain * audio for gain in (1, 0.5, 0.8, 0.3)], axis=-1), rate


def test_segments_of_a_song_join_as_if_it_had_none(minute):
    audio, rate = minute
    check_borders(audio, rate)


def test_segments_of_a_sustained_tone_join_as_if_it_had_none():
    check_borders(0.3 * np.sin(2 * np.pi * 440 * np.arange(32 * 16000) / 16000)[None], 16000)


def check_borders(audio: Waveform, rate: int) -> None:
    """Within -60 dB of one pass over the whole, in every half second on either side of a border."""
    separator = Separator("drnn")
    whole = Separator("drnn", segment_seconds=WHOLE).separate(audio, rate)["vocals"]
    difference = separator.separate(audio, rate)["vocals"] - whole
    half = rate // 2
    stride = round(rate * (separator.settings.segment_seconds - separator.settings.overlap_seconds))
    starts = [
        border + place
        for border in range(stride, audio.shape[-1] - 4 * rate, stride)
        for place in range(-half, 4 * rate, half)
    ]
    assert len(starts) > 10
    assert max(decibels(difference[:, s : s + half], whole[:, s : s + half]) for s in starts) < -60


def test_threads_may_share_a_separator_for_all_it_does(path, tmp_path):
    """Songs, streams and files at once, each with its own bytes."""
    separator = Separator(path, segment_seconds=1, overlap_seconds=0.25)
    songs = [noise(2, 50_000, seed) for seed in range(3)]
    for seed, song in enumerate(songs):
        soundfile.write(tmp_path / f"{seed}.wav", song.T, 16000, "FLOAT")

    def work(job: tuple[str, int]) -> bytes:
        kind, seed = job
        match kind:
            case "separate":
                vocals = separator.separate(songs[seed], 16000)["vocals"]
            case "stream":
                vocals = streamed(separator, cut(songs[seed], [5000] * 10), 16000)["vocals"]
            case _:
                options = FileOptions(template=f"{{track}}-{threading.get_ident()}-{{stem}}.{{ext}}")
                done = separator.separate_file(tmp_path / f"{seed}.wav", tmp_path, options)
                vocals = load_audio(done.paths["vocals"])[0]
        return vocals.tobytes()

    jobs = [(kind, seed) for kind in ("separate", "stream", "file") for seed in range(3)]
    alone = [work(job) for job in jobs]
    assert len(set(alone)) == 6  # a file's stems are those of its waveform
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, jobs * 3)) == alone * 3


@pytest.mark.parametrize("n_threads", [1, 3, 7])
def test_the_number_of_threads_changes_no_byte(path, n_threads):
    audio = noise(2, 60_000)
    separators = (
        Separator(path, segment_seconds=0.5, overlap_seconds=0.1, n_threads=n) for n in (None, n_threads)
    )
    expected, found = (separator.separate(audio, 16000)["vocals"].tobytes() for separator in separators)
    assert found == expected


def test_a_large_input_is_not_changed(path, tmp_path):
    audio = 1e4 * noise(2, 300_000)
    before = audio.tobytes()
    audio.flags.writeable = False
    for separator in (Separator(path), Separator(path, griffin_lim_iterations=1)):
        stems = separator.separate(audio, 16000)
        assert not any(np.shares_memory(stem, audio) for stem in stems.values())
        stems["vocals"][:] = 0
        list(separator.stream([audio], 16000))
    assert audio.tobytes() == before


class Counting(TinyEstimator):
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


@pytest.mark.parametrize("way", ["array", "file"])
def test_an_exception_of_progress_cancels_at_once(tmp_path, way):
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
        work[way]()
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


def test_a_model_that_does_not_stream_gives_what_separate_gives():
    audio, rate = load_audio(EXAMPLE)
    song = np.concatenate([audio, 0.5 * audio], axis=-1)
    separator = Separator("duetto")
    whole = separator.separate(song, rate)["vocals"]
    np.testing.assert_array_equal(
        streamed(separator, iter(np.array_split(song, 41, axis=-1)), rate)["vocals"], whole
    )


def test_metadata_that_promise_a_stream_are_checked(tmp_path):
    with pytest.raises(ModelError, match="no state"):
        Separator(write_model(tmp_path / "tiny.onnx", streams=True))
    with pytest.raises(ModelError, match="'streams' is True"):
        Separator(write_model(tmp_path / "tiny.onnx", streams=True, causal=False))


def test_a_segment_comes_in_late_where_the_network_looks_back_only():
    class Noncausal(TinyEstimator):
        metadata = replace(METADATA, causal=False)

    late, even = (
        separator._way(16000).rise for separator in (Separator(TinyEstimator()), Separator(Noncausal()))
    )
    middle = (np.arange(32_000) + 0.5 - 14_000) / 4000  # an eighth of the overlap, half-way between the ends
    np.testing.assert_allclose(even, np.clip(middle, 0, 1), atol=1e-6)
    n_fft = METADATA.n_fft
    assert not late[: 28_000 - n_fft].any()
    assert late[-n_fft:].min() == 1
    assert np.all(np.diff(late) >= 0)
