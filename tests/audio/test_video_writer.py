"""Video files with other sound: the pictures are the same bytes at the same time, the sound is in time."""

import sys
import tracemalloc

import av
import numpy as np
import pytest

from duetto.audio.video_writer import video_extension, video_writer
from duetto.errors import AudioError
from helpers.films import packets, sound_of, write_film
from helpers.quick import first
from helpers.signals import decibels


def music(n_channels=2, seconds=2.0, sample_rate=44_100):
    """Tones that begin and end, so that a delay shows."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    steps = 1 + (time * 7).astype(int) % 5
    return np.stack([0.2 * np.sin(2 * np.pi * 150 * (c + 1) * steps * time) for c in range(n_channels)])


def rewritten(path, film, sound, *, sample_rate, names=("accompaniment", "vocals"), **options):
    form = {"audio_track": None, "channel_mask": 0, "bitrate_kbps": None} | options
    writer = video_writer(path, film, names, sample_rate=sample_rate, n_channels=len(sound), **form)
    with writer:
        for start in range(0, sound.shape[1], sample_rate):
            for k, track in enumerate(writer.tracks.values()):
                track.write(sound[:, start : start + sample_rate] * (1 - 2 * k))
    return writer


@pytest.mark.slow
@pytest.mark.parametrize("start_seconds", first(1, 0.013, 0.0, 0.5))
@pytest.mark.parametrize(
    "form", first(2, ("mp4", 44_100), ("webm", 48_000), ("mov", 48_000), ("mkv", 44_100))
)
def test_sound_and_pictures_stay_in_time(tmp_path, form, start_seconds):
    extension, sample_rate = form
    film = write_film(
        tmp_path / f"film.{extension}",
        [music(sample_rate=sample_rate)],
        sample_rate=sample_rate,
        start_seconds=start_seconds,
    )
    sound, begins = sound_of(film)
    out = tmp_path / f"out.{extension}"
    rewritten(out, film, sound, sample_rate=sample_rate)
    assert packets(out, "video") == packets(film, "video")
    for track, sign in ((0, 1), (1, -1)):
        copy, copy_begins = sound_of(out, track)
        assert begins - copy_begins == round(begins - copy_begins)  # a whole number of samples
        shift = round(begins - copy_begins)
        inner = slice(8000, 40_000)
        copy = copy[:, inner.start + shift : inner.stop + shift]
        original = sound[:, inner] * sign
        errors = [decibels(np.roll(copy, k, axis=1) - original, original) for k in range(-30, 31)]
        assert int(np.argmin(errors)) - 30 == 0
        assert min(errors) < -15


def test_the_tracks_have_names_languages_and_an_order(tmp_path):
    film = write_film(tmp_path / "film.mkv", [music(), music()], languages=("eng", "deu"), subtitles=True)
    out = tmp_path / "out.mkv"
    rewritten(out, film, music(), sample_rate=44_100, audio_track="deu")
    assert packets(out, "subtitles") == packets(film, "subtitles")
    assert len(packets(out, "subtitles")) == 2
    with av.open(str(out)) as file:
        assert file.metadata["title"] == "Holiday"
        first, second = file.streams.audio
        assert [stream.metadata["title"] for stream in (first, second)] == ["Accompaniment", "Vocals"]
        assert {first.language, second.language} == {"deu", "ger"} & {first.language}
        assert first.disposition.name == "default"
        assert second.disposition.value == 0


@pytest.mark.slow
def test_the_same_film_gives_the_same_bytes(tmp_path):
    film = write_film(tmp_path / "film.mkv", [music()])
    for name in ("a", "b"):
        rewritten(tmp_path / f"{name}.mkv", film, music(), sample_rate=44_100)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


@pytest.mark.parametrize("extension", first(1, "mp4", "mkv"))
def test_a_gap_in_the_sound_is_refused_and_leaves_the_old_file(tmp_path, extension):
    film = write_film(tmp_path / f"film.{extension}", [music()], lost_seconds=(1.0, 1.5))
    out = tmp_path / f"out.{extension}"
    out.write_bytes(b"old")
    with pytest.raises(AudioError, match=r"has a gap in its sound at (0\.9|1\.0)\d seconds"):
        rewritten(out, film, music(), sample_rate=44_100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [film.name, out.name]
    assert out.read_bytes() == b"old"


def test_what_has_no_pictures_is_refused(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=44_100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(music().astype("f4"), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        file.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match=r"song\.m4a holds no pictures; choose another --format"):
        rewritten(tmp_path / "out.mp4", tmp_path / "song.m4a", music(), sample_rate=44_100)


@pytest.mark.parametrize("name", first(1, "film.avi", "film.ts"))
def test_other_containers_become_matroska(tmp_path, name):
    film = write_film(tmp_path / name, [music()])
    assert video_extension(film) == ".mkv"
    rewritten(tmp_path / "out.mkv", film, sound_of(film)[0], sample_rate=44_100)
    assert [data for _, data in packets(tmp_path / "out.mkv", "video")] == [
        data for _, data in packets(film, "video")
    ]


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mp4", [music()])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"needs FFmpeg.*pip install av"):
        rewritten(tmp_path / "out.mp4", film, music(), sample_rate=44_100)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_film(tmp_path):
    film = write_film(tmp_path / "film.mkv", [music(seconds=40)])
    sound = music(seconds=40).astype(np.float32)
    tracemalloc.start()
    rewritten(tmp_path / "out.mkv", film, sound, sample_rate=44_100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # bytes; the sound alone is 14 million
