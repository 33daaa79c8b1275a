"""Songs separated into one file of several sound tracks, and into file objects."""

import io

import av
import numpy as np
import pytest
import soundfile

from duetto.audio import load_audio, save_audio
from duetto.errors import AudioError, ConfigError
from duetto.separation.stem_writer import FileOptions
from helpers.command_line import duetto
from helpers.files import write_song, written
from helpers.films import packets, sound_of, write_film
from helpers.quick import first
from helpers.signals import decibels, noise, tone
from helpers.tiny import write_model

RATE = 44_100


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    sound = tone(300, 2.0, RATE, n_channels=2) + tone(450, 2.0, RATE, n_channels=2)
    other = tone(900, 2.0, RATE, n_channels=2)
    folder = tmp_path_factory.mktemp("film")
    return write_film(folder / "film.mkv", [other, sound], start_seconds=0.25, languages=("deu", "eng"))


@pytest.mark.slow
def test_a_film_comes_back_with_both_stems_as_sound_tracks(separator, film, tmp_path):
    done = separator.separate_file(film, tmp_path, FileOptions(format="video", audio_track="eng"))
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in done.paths.items()} == {
        "stems": "tiny/film/film.mkv"
    }
    assert packets(done.paths["stems"], "video") == packets(film, "video")
    assert done.peaks.keys() == {"stems"}
    audio, rate = load_audio(film, audio_track="eng")
    stems = separator.separate(audio, rate)
    for track, stem in enumerate(("accompaniment", "vocals")):
        sound, begins = sound_of(done.paths["stems"], track)
        shift = round(sound_of(film, 1)[1] - begins)
        expected = stems[stem][:, 4000:-4000]
        got = sound[:, 4000 + shift : 4000 + shift + expected.shape[1]]
        assert decibels(got - expected, expected) < -20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "name"), [({"stems": ("accompaniment",)}, "accompaniment"), ({"mix": {"vocals": -6}}, "mix")]
)
def test_a_film_with_one_sound_track(separator, film, tmp_path, options, name):
    done = separator.separate_file(film, tmp_path, FileOptions(format="video", **options))
    assert done.paths == {name: tmp_path / f"tiny/film/{name}.mkv"}
    with av.open(str(done.paths[name])) as file:
        assert len(file.streams.audio) == 1
    assert packets(done.paths[name], "video") == packets(film, "video")


@pytest.mark.slow
def test_the_command_writes_a_film_and_a_stem_file(film, tmp_path):
    model_path = write_model(tmp_path / "tiny.onnx")
    common = ("separate", film, "-n", model_path, "-o", tmp_path / "out", "--audio-track", "2")
    outcome = duetto(*common, "--format", "video", "--stem", "accompaniment")
    assert outcome.code == 0
    outcome = duetto(*common, "--format", "stem.mp4", "--bitrate", "128")
    assert outcome.code == 0
    assert written(tmp_path / "out") == ["tiny/film/accompaniment.mkv", "tiny/film/film.stem.mp4"]


def test_a_stem_file_holds_the_song_and_its_stems(separator, tmp_path):
    song = write_song(tmp_path / "song.wav", tone(440, 1.0, RATE), sample_rate=RATE)
    done = separator.separate_file(song, tmp_path, FileOptions(format="stem.mp4"))
    assert done.paths == {"stems": tmp_path / "tiny/song/song.stem.mp4"}
    assert done.null_residual < 1e-6
    with av.open(str(done.paths["stems"])) as file:
        assert len(file.streams.audio) == 5
    mixture, vocals, accompaniment = (sound_of(done.paths["stems"], k)[0][:, :RATE] for k in range(3))
    assert decibels(vocals + accompaniment - mixture, mixture) < -10
    assert decibels(mixture - load_audio(song)[0], mixture) < -10


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "stem.mp4", "stems": ("vocals",)}, "holds both stems"),
        ({"format": "stem.mp4", "mix": {"vocals": 0}}, "holds both stems"),
        ({"format": "video", "start_seconds": 1.0}, "written whole"),
    ],
)
def test_options_that_make_no_sense(options, reason):
    with pytest.raises(ConfigError, match=reason):
        FileOptions(**options)


def test_a_song_without_pictures_is_refused_and_nothing_is_written(separator, tmp_path):
    song = write_song(tmp_path / "song.wav", sample_rate=RATE)
    with pytest.raises(AudioError, match="holds no pictures"):
        separator.separate_file(song, tmp_path / "out", FileOptions(format="video"))
    assert written(tmp_path) == ["song.wav"]


# --- file objects ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "container",
    first(2, "FLAC", "M4A", "WAV", "OGG", "OPUS", "MP3"),
)
def test_stems_go_to_file_objects(separator, tmp_path, container):
    song = write_song(tmp_path / "song.wav", noise(2, RATE, amplitude=0.3), sample_rate=RATE)
    options = FileOptions(format=container.lower())
    files = {"vocals": io.BytesIO(), "accompaniment": io.BytesIO()}
    done = separator.separate_file(song, files, options)
    assert done.paths == {}
    assert written(tmp_path) == ["song.wav"]
    on_disk = separator.separate_file(song, tmp_path / "out", options)
    for stem, file in files.items():
        assert file.getvalue() == on_disk.paths[stem].read_bytes()


def test_a_song_from_memory_to_memory(separator, tmp_path):
    song = write_song(tmp_path / "song.flac", noise(2, RATE, amplitude=0.3), sample_rate=RATE)
    files = {"vocals": io.BytesIO(), "accompaniment": io.BytesIO()}
    separator.separate_file(io.BytesIO(song.read_bytes()), files)
    total = sum(
        soundfile.read(io.BytesIO(file.getvalue()), dtype="int16")[0].astype(int) for file in files.values()
    )
    np.testing.assert_array_equal(total, soundfile.read(song, dtype="int16")[0])


def test_a_failure_leaves_the_file_object_as_it_was(separator, tmp_path):
    song = write_song(tmp_path / "song.wav", noise(2, RATE, amplitude=0.3), sample_rate=RATE)
    files = {"vocals": io.BytesIO(b"old"), "accompaniment": io.BytesIO(b"old")}

    def stop(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        separator.separate_file(song, files, progress=stop)
    assert {file.getvalue() for file in files.values()} == {b"old"}
    with pytest.raises(ConfigError, match="give one for each of vocals, accompaniment"):
        separator.separate_file(song, {"vocals": io.BytesIO()})


def test_save_audio_to_a_file_object(tmp_path):
    audio = tone(440, 0.5, RATE, n_channels=2)
    file = io.BytesIO()
    save_audio(file, audio, RATE, container="FLAC", subtype="PCM_16")
    save_audio(tmp_path / "a.flac", audio, RATE, subtype="PCM_16")
    assert file.getvalue() == (tmp_path / "a.flac").read_bytes()
    with pytest.raises(AudioError, match=r"a file object needs one of .*FLAC"):
        save_audio(io.BytesIO(), audio, RATE)
