"""The dataset `songs`: a folder with a folder for each song, whose files are its tracks."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from duetto.errors import DatasetError
from duetto.evaluation.datasets import default_split, load_tracks
from duetto.evaluation.tracks import Track
from helpers.signals import noise

RATE = 44100


def write(path: Path, audio: np.ndarray, sample_rate: int = RATE) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = {".wav": "FLOAT", ".mp3": "MPEG_LAYER_III"}.get(path.suffix, "PCM_16")
    soundfile.write(path, audio.T, sample_rate, subtype=subtype)
    return audio


def load(root: Path) -> list[Track]:
    return load_tracks("songs", root, split="all")


def test_a_song_is_the_sum_of_its_sung_tracks_and_the_sum_of_the_others(tmp_path: Path) -> None:
    """Mono tracks are in both channels of a stereo song, and shorter tracks end with silence."""
    song = tmp_path / "Some One - Song"
    lead, choir = (
        write(song / "Vocals.wav", noise(1, 300, 1)),
        write(song / "vocals-choir.wav", noise(2, 200, 2)),
    )
    bass, guitar = write(song / "bass.wav", noise(1, 250, 3)), write(song / "guitar.wav", noise(2, 350, 4))
    write(song / "mixture.wav", noise(2, 400, 5))
    (song / "notes.txt").write_text("in G", encoding="utf-8")
    (tmp_path / ".stored").mkdir()
    (track,) = load(tmp_path)
    assert (track.name, track.song, track.singer) == ("Some One - Song", "Some One - Song", None)
    assert [path.name for path in track.files] == ["Vocals.wav", "bass.wav", "guitar.wav", "vocals-choir.wav"]
    audio = pickle.loads(pickle.dumps(track)).load()
    expected = {"vocals": np.zeros((2, 350), np.float32), "accompaniment": np.zeros((2, 350), np.float32)}
    for source, waveform in (("vocals", lead), ("vocals", choir), ("accompaniment", bass)):
        expected[source][:, : waveform.shape[1]] += waveform
    expected["accompaniment"] += guitar
    assert audio.sample_rate == RATE
    for source, waveform in expected.items():
        np.testing.assert_allclose(audio.sources[source], waveform, atol=1e-6)


def test_the_accompaniments_own_file_goes_first(tmp_path: Path) -> None:
    for name in ("vocals", "drums", "accompaniment"):
        write(tmp_path / "song" / f"{name}.flac", noise(2, 100))
    (track,) = load(tmp_path)
    assert [path.name for path in track.files] == ["accompaniment.flac", "vocals.flac"]


def test_songs_in_a_lossy_format_are_read(tmp_path: Path) -> None:
    for seed, name in enumerate(("vocals.mp3", "accompaniment.wav")):
        write(tmp_path / "song" / name, noise(2, RATE, seed, 0.3))
    (track,) = load(tmp_path)
    assert track.load().mixture.shape == (2, RATE)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"song holds no audio file; a folder for each song should hold"),
        ({"drums.wav": 1}, r"song has no sung track beside drums\.wav.* names begin with vocals"),
        ({"vocals.wav": 1, "mixture.wav": 1}, r"song has no other track beside mixture\.wav, vocals\.wav;"),
        (
            {"vocals.wav": 1, "drums.wav": 1, "lead vocal.wav": 1},
            r"song: is lead vocal\.wav sung\? .* begin with",
        ),
        ({"vocals.wav": 1, "no_vocals.wav": 1}, r"song: is no_vocals\.wav sung\?"),
        ({"vocals.wav": 2, "drums.wav": 6}, r"vocals\.wav has 2 channels, .*drums\.wav has 6 channels; conv"),
        ({"vocals.wav": 1, "vocals.flac": 1}, r"vocals\.\w+ have the same name"),
    ],
)
def test_a_song_that_cannot_be_is_named(tmp_path: Path, files: dict[str, int], said: str) -> None:
    (tmp_path / "song").mkdir()
    for name, n_channels in files.items():
        write(tmp_path / "song" / name, noise(n_channels, 100))
    with pytest.raises(DatasetError, match=said):
        load(tmp_path)


def test_tracks_of_two_sample_rates_are_named(tmp_path: Path) -> None:
    write(tmp_path / "song" / "vocals.wav", noise(1, 100), 48000)
    write(tmp_path / "song" / "drums.wav", noise(1, 100))
    with pytest.raises(DatasetError, match=r"drums\.wav has 44100 Hz, .*vocals\.wav has 48000 Hz; convert"):
        load(tmp_path)


def test_a_folder_without_songs_says_what_should_be_in_it(tmp_path: Path) -> None:
    write(tmp_path / "vocals.wav", noise(1, 100))
    with pytest.raises(DatasetError, match=r"holds no folders; a folder for each song should hold"):
        load(tmp_path)


def test_a_dataset_without_splits_is_scored_whole() -> None:
    assert [default_split(name) for name in ("songs", "mir1k", "unknown")] == ["all", "test", "test"]
    with pytest.raises(DatasetError, match="unknown songs split 'test'; choose 'all'"):
        load_tracks("songs", Path(), split="test")
