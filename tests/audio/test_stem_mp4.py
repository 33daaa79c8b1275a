"""Files in the Stem format open in DJ software: five stereo tracks, and JSON that names four stems."""

import json
import struct

import av
import numpy as np
import pytest
from mutagen.mp4 import MP4

from duetto.audio.stem_mp4 import StemMp4Writer
from duetto.audio.tagging import read_tags
from duetto.audio.tags import Picture, Tags
from duetto.errors import AudioError
from helpers.films import sound_of
from helpers.quick import first
from helpers.signals import decibels, tone

RATE = 44_100


def write(path, n_channels=2, tags=None, n_seconds=2.0):
    sounds = {
        name: tone(hertz, n_seconds, RATE, n_channels=n_channels)
        for name, hertz in (("mixture", 300), ("vocals", 500), ("accompaniment", 700))
    }
    with StemMp4Writer(path, sample_rate=RATE, n_channels=n_channels, tags=tags) as writer:
        for start in range(0, round(n_seconds * RATE), 30_000):
            for name, track in writer.tracks.items():
                track.write(sounds[name][:, start : start + 30_000])
    return sounds, writer


def boxes(data):
    """Name -> content of the boxes in `data`, which have to fill it."""
    found, place = {}, 0
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        assert size >= 8
        found[name] = data[place + 8 : place + size]
        place += size
    assert place == len(data)
    return found


@pytest.mark.parametrize(
    "tags", first(1, Tags({"title": ["Song"]}, (Picture(b"\x89PNG", "image/png", 3, ""),)), None)
)
@pytest.mark.parametrize("n_channels", first(1, 2, 1))
def test_the_file_has_what_dj_software_asks_for(tmp_path, n_channels, tags):
    path = tmp_path / "song.stem.mp4"
    sounds, writer = write(path, n_channels, tags)
    assert writer.notes == []
    manifest = json.loads(boxes(boxes(boxes(path.read_bytes())[b"moov"])[b"udta"])[b"stem"])
    assert manifest["version"] == 1
    names = [stem["name"] for stem in manifest["stems"]]
    assert names[:2] == ["Vocals", "Accompaniment"]
    assert len(set(names)) == 4
    assert not manifest["mastering_dsp"]["limiter"]["enabled"]
    assert not manifest["mastering_dsp"]["compressor"]["enabled"]
    with av.open(str(path)) as file:
        streams = file.streams.audio
        assert [stream.codec_context.layout.nb_channels for stream in streams] == [2] * 5
        assert {stream.codec_context.name for stream in streams} == {"aac"}
        assert [stream.disposition.value for stream in streams] == [1, 0, 0, 0, 0]  # players take the song
        assert {stream.duration for stream in streams} == {2 * RATE}
    for k, name in enumerate(("mixture", "vocals", "accompaniment")):
        decoded, begins = sound_of(path, k)
        assert begins == 0
        expected = np.broadcast_to(sounds[name], (2, 2 * RATE))
        assert decibels(decoded[:, : 2 * RATE] - expected, expected) < -30
    for k in (3, 4):
        assert not sound_of(path, k)[0].any()
    if tags:
        assert MP4(path)["\xa9nam"] == ["Song"]
        assert read_tags(path)[0].pictures == tags.pictures


def test_a_failure_leaves_nothing(tmp_path):
    writer = StemMp4Writer(tmp_path / "song.stem.mp4", sample_rate=RATE, n_channels=2)
    with pytest.raises(ZeroDivisionError), writer:
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_surround_is_refused(tmp_path):
    with pytest.raises(AudioError, match="stereo tracks, the song has 6 channels"):
        StemMp4Writer(tmp_path / "song.stem.mp4", sample_rate=RATE, n_channels=6)
