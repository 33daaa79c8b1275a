"""Recordings that training reads from disk are those that were stored, to 16 bits."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto.training.data.stored_audio import StoredFile, peak, store, take

Waveform = NDArray[np.float32]


@pytest.fixture
def waveform(rng: np.random.Generator) -> Waveform:
    return rng.uniform(-0.3, 0.3, (2, 1000)).astype(np.float32)


def test_what_is_read_is_what_was_stored_to_16_bits(tmp_path: Path, waveform: Waveform) -> None:
    held = store(tmp_path / "store", "a song", lambda: waveform)
    assert held.shape == (2, 1000)
    assert peak(held) == peak(waveform)
    for start, n_samples in ((0, 1000), (200, 300), (900, 250), (5000, 2500)):
        taken, expected = take(held, start, n_samples), take(waveform, start, n_samples)
        assert taken.dtype == np.float32
        assert np.abs(taken - expected).max() <= 0.51 * peak(waveform) / 32767
        assert np.array_equal(expected, waveform[:, np.arange(start, start + n_samples) % 1000])


def test_a_stored_recording_is_not_loaded_again(tmp_path: Path, waveform: Waveform) -> None:
    def fail() -> Waveform:
        raise AssertionError

    held = store(tmp_path, "a song", lambda: waveform)
    assert store(tmp_path, "a song", fail) == held
    other = store(tmp_path, "another", lambda: 2 * waveform)
    assert other.path != held.path
    assert pickle.loads(pickle.dumps(held)) == held


def test_a_recording_whose_storing_failed_is_stored_again(tmp_path: Path, waveform: Waveform) -> None:
    held = store(tmp_path, "a song", lambda: waveform)
    held.path.with_suffix(".peak").unlink()  # as if the process had been killed in between
    again = store(tmp_path, "a song", lambda: waveform[:, :10])
    assert again.shape == (2, 10)


def test_silence_stays_silent(tmp_path: Path) -> None:
    held = store(tmp_path, "silence", lambda: np.zeros((1, 50), np.float32))
    assert isinstance(held, StoredFile)
    assert not take(held, 0, 50).any()
