"""The example song is what its script makes, and it is a song that can be separated and scored."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from duetto.audio import AudioReader, load_audio

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/synthesise_example.py"
SONG = ROOT / "src/duetto/audio/example.flac"
LSB = 2**-15


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The song and the folder of stems that the script writes."""
    folder = tmp_path_factory.mktemp("example")
    command = [sys.executable, SCRIPT, folder / "song.flac", "--stems", folder / "stems"]
    subprocess.run(command, check=True, timeout=120)
    return folder / "song.flac", folder / "stems"


@pytest.fixture(scope="module")
def stems(script: tuple[Path, Path]) -> dict[str, np.ndarray]:
    return {name: load_audio(script[1] / f"{name}.flac")[0] for name in ("vocals", "accompaniment")}


@pytest.fixture(scope="module")
def song() -> np.ndarray:
    return load_audio(SONG)[0]


def test_the_shipped_file_is_what_the_script_makes(script: tuple[Path, Path], song: np.ndarray) -> None:
    # Another processor may round a sine the other way, and with it one step of 16 bits.
    np.testing.assert_allclose(load_audio(script[0])[0], song, rtol=0, atol=1.01 * LSB)


def test_vocals_and_accompaniment_sum_to_the_song(
    stems: dict[str, np.ndarray], script: tuple[Path, Path]
) -> None:
    np.testing.assert_array_equal(stems["vocals"] + stems["accompaniment"], load_audio(script[0])[0])


def test_it_is_a_short_stereo_song_in_a_small_file() -> None:
    with AudioReader(SONG) as reader:
        assert (reader.info.sample_rate, reader.info.n_channels) == (44100, 2)
        assert 10 < reader.info.n_samples / 44100 < 12
    assert SONG.stat().st_size < 1_000_000


def test_it_is_as_loud_as_was_set_and_nothing_is_clipped(song: np.ndarray) -> None:
    assert np.abs(song).max() == pytest.approx(0.5, abs=2 * LSB)


def test_voice_and_music_are_equally_loud(stems: dict[str, np.ndarray]) -> None:
    energies = {name: np.sum(np.square(stem, dtype=np.float64)) for name, stem in stems.items()}
    assert abs(10 * np.log10(energies["vocals"] / energies["accompaniment"])) < 0.1


def test_the_music_is_wider_than_the_voice(stems: dict[str, np.ndarray]) -> None:
    def side_to_mid(stem: np.ndarray) -> float:
        return float(np.linalg.norm(stem[0] - stem[1]) / np.linalg.norm(stem[0] + stem[1]))

    assert side_to_mid(stems["vocals"]) < 0.3 < side_to_mid(stems["accompaniment"]) < 1


def test_the_voice_sings_the_melody_in_tune(stems: dict[str, np.ndarray]) -> None:
    beat, strayed = 60 / 96 * 44100, []  # samples
    frequencies = np.maximum(np.fft.rfftfreq(2**18, 1 / 44100), 1)
    for start, length, midi, *_ in runpy.run_path(str(SCRIPT))["MELODY"]:
        # The note without its glide from the note before; most last a quarter of a second.
        note = stems["vocals"][0, int((start + 0.2) * beat) : int((start + length) * beat)]
        power = np.abs(np.fft.rfft(note * np.hanning(len(note)), 2**18)) ** 2
        semitones = 12 * np.log2(frequencies / 440) + 69 - midi
        near = np.abs(semitones) < 1.5
        strayed.append(np.average(semitones[near], weights=power[near]))
    assert np.abs(strayed).max() < 0.5  # of a single note, as singers do
    assert abs(np.mean(strayed)) < 0.1
