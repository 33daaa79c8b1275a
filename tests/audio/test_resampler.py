"""Opus from songs of other sample rates: resampled on the way out, in time and without aliases."""

import sys
import tracemalloc

import numpy as np
import pytest

from duetto.audio import AudioReader, AudioWriter, load_audio, save_audio
from duetto.audio.resampler import Resampler
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.files import write_song
from helpers.quick import first
from helpers.signals import decibels, noise, tone
from helpers.tiny import TinyModel


def resampled(audio, sample_rate, new_rate, n_block):
    resampler = Resampler(sample_rate, new_rate, len(audio))
    blocks = [audio[:, start : start + n_block].T for start in range(0, audio.shape[1], n_block)]
    return np.concatenate([*map(resampler.process, blocks), resampler.finish()]).T


@pytest.mark.parametrize("sample_rate", [8000, 11_025, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000])
@pytest.mark.parametrize("n_samples", [1, 1000, 50_001])
def test_the_length_is_that_of_the_same_time(sample_rate, n_samples):
    out = resampled(noise(2, n_samples, amplitude=0.3), sample_rate, 48_000, 4096)
    assert out.shape == (2, round(n_samples * 48_000 / sample_rate))


@pytest.mark.parametrize("hertz", [100, 1000, 10_000, 17_000])
def test_a_tone_stays_where_it_is_in_time_and_level(hertz):
    audio = tone(hertz, 1.0, 44_100, n_channels=2)
    expected = tone(hertz, 1.0, 48_000, n_channels=2)
    out = resampled(audio, 44_100, 48_000, 3000)
    inner = slice(2000, -2000)
    assert decibels((out - expected)[:, inner], expected[:, inner]) < -105


def test_what_the_lower_rate_cannot_hold_is_gone():
    audio = tone(40_000, 1.0, 96_000)
    out = resampled(audio, 96_000, 48_000, 5000)
    assert decibels(out[:, 2000:-2000], audio) < -100  # its sudden beginning and end hold all frequencies


def test_the_blocks_do_not_change_the_result():
    audio = noise(2, 30_000, amplitude=0.3)
    whole = resampled(audio, 44_100, 48_000, 30_000)
    np.testing.assert_array_equal(resampled(audio, 44_100, 48_000, 777), whole)


@pytest.mark.parametrize("sample_rate", first(2, 44_100, 11_025, 22_050, 96_000))
def test_opus_is_written_from_any_sample_rate(tmp_path, sample_rate):
    audio = tone(440, 2.0, sample_rate, n_channels=2)
    assert save_audio(tmp_path / "a.opus", audio, sample_rate) == 0
    out, rate = load_audio(tmp_path / "a.opus")
    assert (out.shape, rate) == ((2, 96_000), 48_000)
    expected = tone(440, 2.0, 48_000, n_channels=2)
    assert decibels((out - expected)[:, 4000:-4000], expected[:, 4000:-4000]) < -25


def test_stems_of_a_44_1_khz_song_as_opus(tmp_path):
    song = write_song(tmp_path / "song.wav", noise(2, 44_100, amplitude=0.3), sample_rate=44_100)
    done = Separator(TinyModel()).separate_file(song, tmp_path / "out", FileOptions(format="opus"))
    for path in done.paths.values():
        with AudioReader(path) as reader:
            assert (reader.info.sample_rate, reader.info.n_samples) == (48_000, 48_000)
    (note,) = done.notes
    assert "resampled from 44100 to 48000 Hz" in note
    assert done.null_residual is None


def test_48_khz_is_left_alone(tmp_path):
    song = write_song(tmp_path / "song.wav", noise(2, 48_000, amplitude=0.3), sample_rate=48_000)
    done = Separator(TinyModel()).separate_file(song, tmp_path / "out", FileOptions(format="opus"))
    assert done.notes == ()
    assert done.null_residual is not None


@pytest.mark.slow
def test_memory_stays_that_of_a_block(tmp_path):
    block = noise(2, 44_100, amplitude=0.3)
    form = {"sample_rate": 44_100, "n_channels": 2, "container": "OPUS", "subtype": "OPUS"}
    with AudioWriter(tmp_path / "a.opus", **form) as writer:
        writer.write(block)
        tracemalloc.start()
        for _ in range(20):
            writer.write(block)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3_000_000  # bytes; 20 s are 7 million


def test_other_formats_do_not_import_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "samplerate", None)
    save_audio(tmp_path / "a.wav", tone(440), 44_100)
    save_audio(tmp_path / "a.opus", tone(440, sample_rate=48_000), 48_000)
