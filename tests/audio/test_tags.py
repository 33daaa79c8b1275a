"""Tags and covers reach the stems of every format that can hold them, and never do harm."""

import base64
import itertools
import struct
import sys
import zlib

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3
from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, MP4Cover, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from duetto.audio import AudioReader, save_audio
from duetto.audio.tagging import NO_MUTAGEN, read_tags
from duetto.separation.remainder import STEMS
from duetto.separation.stem_writer import FileOptions
from helpers.quick import first

RATE = 48_000
TEXTS = {
    "title": ["Song"], "artist": ["Anna", "Bert"], "album": ["Ärger"], "albumartist": ["Various"],
    "composer": ["Clara"], "genre": ["Pop"], "date": ["2014"], "tracknumber": ["3/12"], "discnumber": ["1"],
    "bpm": ["120"], "isrc": ["DEXX11400001"], "comment": ["naïve"], "lyrics": ["la la\nla"], "mood": ["odd"],
}  # fmt: skip


def png():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def picture():
    cover = Picture()
    cover.data, cover.mime, cover.type, cover.desc = png(), "image/png", 3, "front"
    return cover


def tag_vorbis(file):
    file.update(TEXTS)
    file.update({"replaygain_track_gain": "-7 dB", "encoder": "LAME", "cuesheet": "x"})
    if isinstance(file, FLAC):
        file.add_picture(picture())
    else:
        file["metadata_block_picture"] = [base64.b64encode(picture().write()).decode()]


def tag_id3(file):
    if file.tags is None:
        file.add_tags()
    frames = {
        "title": id3.TIT2, "artist": id3.TPE1, "album": id3.TALB, "albumartist": id3.TPE2,
        "composer": id3.TCOM, "genre": id3.TCON, "date": id3.TDRC, "tracknumber": id3.TRCK,
        "discnumber": id3.TPOS, "bpm": id3.TBPM, "isrc": id3.TSRC,
    }  # fmt: skip
    for name, frame in frames.items():
        file.tags.add(frame(encoding=3, text=TEXTS[name]))
    file.tags.add(id3.COMM(encoding=3, lang="eng", desc="", text=TEXTS["comment"]))
    file.tags.add(id3.COMM(encoding=3, lang="eng", desc="iTunNORM", text=["00000"]))
    file.tags.add(id3.USLT(encoding=3, lang="eng", desc="", text=TEXTS["lyrics"][0]))
    file.tags.add(id3.TXXX(encoding=3, desc="MOOD", text=TEXTS["mood"]))
    file.tags.add(id3.TXXX(encoding=3, desc="replaygain_track_gain", text=["-7 dB"]))
    file.tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="front", data=png()))


def tag_mp4(file):
    file.update({"\xa9nam": TEXTS["title"], "\xa9ART": TEXTS["artist"], "\xa9alb": TEXTS["album"]})
    file.update({"aART": TEXTS["albumartist"], "\xa9wrt": TEXTS["composer"], "\xa9gen": TEXTS["genre"]})
    file.update({"\xa9day": TEXTS["date"], "trkn": [(3, 12)], "disk": [(1, 0)], "tmpo": [120]})
    file.update({"\xa9cmt": TEXTS["comment"], "\xa9lyr": TEXTS["lyrics"]})
    for name, value in (("ISRC", TEXTS["isrc"][0]), ("mood", "odd"), ("iTunSMPB", " 00000000 00000840")):
        file[f"----:com.apple.iTunes:{name}"] = [MP4FreeForm(value.encode())]
    file["covr"] = [MP4Cover(png(), MP4Cover.FORMAT_PNG)]


KINDS = {
    "FLAC": ("flac", FLAC, tag_vorbis), "OGG": ("ogg", OggVorbis, tag_vorbis),
    "OPUS": ("opus", OggOpus, tag_vorbis),
    "MP3": ("mp3", MP3, tag_id3), "WAV": ("wav", WAVE, tag_id3), "AIFF": ("aiff", AIFF, tag_id3),
    "M4A": ("m4a", MP4, tag_mp4),
}  # fmt: skip


def song(path, seconds=0.1):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, round(seconds * RATE))).astype(np.float32)
    subtype = {"wav": "PCM_16"}.get(path.suffix[1:])
    save_audio(path, audio, RATE, subtype=subtype)
    return path


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for extension, kind, tag in KINDS.values():
        file = kind(song(folder / f"song.{extension}"))
        tag(file)
        file.save()
    return folder


def samples(path):
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(1 << 20)), axis=1)


PAIRS = sorted(itertools.product(KINDS, KINDS), key=lambda pair: pair[0] != pair[1])


@pytest.mark.parametrize("pair", first(len(KINDS), *PAIRS))
def test_tags_and_cover_reach_the_stems(songs, separator, tmp_path, pair):
    source, target = pair
    path = songs / f"song.{KINDS[source][0]}"
    done = separator.separate_file(path, tmp_path, FileOptions(format=target.lower()))
    assert done.notes == ()
    for stem, written in done.paths.items():
        tags, notes = read_tags(written)
        assert notes == []
        assert tags.texts == TEXTS | {"title": [f"Song ({stem})"]}
        (cover,) = tags.pictures
        assert (cover.data, cover.mime, cover.kind) == (png(), "image/png", 3)


@pytest.mark.parametrize(
    "container",
    first(2, *KINDS),
)
def test_the_audio_is_untouched_by_its_tags(songs, separator, tmp_path, container):
    plain = song(tmp_path / "song.flac")
    tagged = songs / "song.flac"
    for stem in STEMS:
        one, other = (
            separator.separate_file(path, tmp_path / folder, FileOptions(format=container.lower())).paths[
                stem
            ]
            for path, folder in ((plain, "plain"), (tagged, "tagged"))
        )
        assert other.read_bytes() != one.read_bytes()
        np.testing.assert_array_equal(samples(other), samples(one))


def test_tagged_stems_sum_to_the_song_and_have_the_same_bytes_each_time(songs, separator, tmp_path):
    for extension in ("flac", "wav"):
        path = songs / f"song.{extension}"
        first, second = (separator.separate_file(path, tmp_path / folder) for folder in "ab")
        np.testing.assert_array_equal(sum(map(samples, first.paths.values())), samples(path))
        for stem in STEMS:
            assert first.paths[stem].read_bytes() == second.paths[stem].read_bytes()


@pytest.mark.parametrize("container", KINDS)
def test_a_song_without_tags_has_stems_without_tags(separator, tmp_path, container):
    done = separator.separate_file(
        song(tmp_path / "song.wav"), tmp_path, FileOptions(format=container.lower())
    )
    for path in done.paths.values():
        assert read_tags(path) == (None, [])
    assert done.notes == ()


def test_a_song_without_a_title_is_called_by_its_file(separator, tmp_path):
    path = song(tmp_path / "My song.flac")
    file = FLAC(path)
    file["artist"] = "Anna"
    file.save()
    done = separator.separate_file(path, tmp_path, FileOptions(mix={"vocals": -6, "accompaniment": 0}))
    assert FLAC(done.paths["mix"])["title"] == ["My song (mix)"]


def test_a_format_without_tags_says_so_and_the_song_is_separated(songs, separator, tmp_path):
    done = separator.separate_file(songs / "song.flac", tmp_path, FileOptions(format="w64"))
    assert len(done.notes) == 2
    assert "vocals.w64 carries no tags, since W64 cannot hold them" in done.notes[0]
    assert all(path.is_file() for path in done.paths.values())


def test_broken_tags_are_noted_and_left_out(songs, separator, tmp_path):
    data = (songs / "song.wav").read_bytes()
    place = data.index(b"id3 " if b"id3 " in data else b"ID3 ") + 8
    broken = tmp_path / "song.wav"
    broken.write_bytes(data[:place] + b"ID3\x04\0\xff\x7f\x7f\x7f\x7f" + data[place + 10 :])
    done = separator.separate_file(broken, tmp_path / "out")
    assert [note.partition(" cannot be read")[0] for note in done.notes] == [f"the tags of {broken}"]
    np.testing.assert_array_equal(sum(map(samples, done.paths.values())), samples(broken))


def test_whatever_the_parser_raises_is_a_note(songs, separator, tmp_path, monkeypatch):
    def explode(*_, **__):
        raise RecursionError("deep")

    monkeypatch.setattr(mutagen, "File", explode)
    done = separator.separate_file(songs / "song.flac", tmp_path)
    assert done.notes == (f"the tags of {songs / 'song.flac'} cannot be read and are left out: deep",)


def test_tags_of_wma(tmp_path, separator):
    from test_ffmpeg import encode, tone

    path = encode(tmp_path / "song.wma", tone(), "asf", "wmav2", "fltp")
    file = mutagen.File(path)
    file["Title"], file["Author"], file["WM/AlbumTitle"] = "Song", "Anna", "Ärger"
    file.save()
    done = separator.separate_file(path, tmp_path, FileOptions(format="flac"))
    stem = FLAC(done.paths["vocals"])
    assert (stem["title"], stem["artist"], stem["album"]) == (["Song (vocals)"], ["Anna"], ["Ärger"])


def test_rf64_cannot_hold_tags_and_stays_whole(songs, separator, tmp_path, monkeypatch):
    monkeypatch.setattr("duetto.audio.writer.WAV_LIMIT", 1000)
    done = separator.separate_file(songs / "song.wav", tmp_path)
    assert all("carries no tags" in note for note in done.notes)
    assert len(done.notes) == 2
    assert {soundfile.info(path).format for path in done.paths.values()} == {"RF64"}
    np.testing.assert_array_equal(sum(map(samples, done.paths.values())), samples(songs / "song.wav"))


# --- without mutagen ---------------------------------------------------------------------------------------

BASIC = {name: TEXTS[name] for name in ("title", "album", "date", "tracknumber", "genre", "comment")} | {
    "artist": ["Anna"]
}


@pytest.fixture
def without_mutagen(monkeypatch):
    import duetto.audio

    monkeypatch.setitem(sys.modules, "mutagen", None)
    monkeypatch.delitem(sys.modules, "duetto.audio.mutagen_tags", raising=False)
    monkeypatch.delattr(duetto.audio, "mutagen_tags", raising=False)


@pytest.fixture(scope="module")
def plainly_tagged(tmp_path_factory):
    """A FLAC with what libsndfile knows, and with a cover that it does not."""
    path = song(tmp_path_factory.mktemp("plain") / "song.flac")
    file = FLAC(path)
    file.update(BASIC)
    file.add_picture(picture())
    file.save()
    return path


@pytest.mark.parametrize("container", KINDS)
def test_the_base_install_carries_what_libsndfile_knows(
    plainly_tagged, separator, tmp_path, container, without_mutagen, monkeypatch
):
    done = separator.separate_file(plainly_tagged, tmp_path, FileOptions(format=container.lower()))
    held = {"AIFF": ("title", "artist", "comment")}.get(container, tuple(BASIC))
    assert done.notes == (NO_MUTAGEN,)
    monkeypatch.undo()
    for stem, path in done.paths.items():
        tags = read_tags(path)[0]
        expected = BASIC | {"title": [f"Song ({stem})"]}
        assert {name: tags.texts[name] for name in held} == {name: expected[name] for name in held}
        np.testing.assert_array_equal(samples(path).shape, (2, RATE // 10))


def test_stems_with_and_without_the_extra_have_the_same_samples(
    plainly_tagged, separator, tmp_path, without_mutagen, monkeypatch
):
    plain = separator.separate_file(plainly_tagged, tmp_path / "plain").paths
    monkeypatch.undo()
    rich = separator.separate_file(plainly_tagged, tmp_path / "rich").paths
    for stem in STEMS:
        np.testing.assert_array_equal(samples(plain[stem]), samples(rich[stem]))


def test_the_base_install_keeps_an_mp3_readable(separator, tmp_path, without_mutagen, monkeypatch):
    """LAME is told Latin-1, so other letters would come out as nonsense."""
    path = song(tmp_path / "song.flac")
    file = FLAC(path)
    file.update({"title": "Ärger", "artist": "日本"})
    file.save()
    done = separator.separate_file(path, tmp_path, FileOptions(format="mp3", stems=("vocals",)))
    written = done.paths["vocals"]
    assert done.notes == (
        NO_MUTAGEN, f"{written} carries no artist, which needs pip install mutagen",
    )  # fmt: skip
    monkeypatch.undo()
    assert read_tags(written)[0].texts == {"title": ["Ärger (vocals)"]}


def test_a_song_without_tags_says_nothing_of_the_extra(separator, tmp_path, without_mutagen):
    done = separator.separate_file(song(tmp_path / "song.wav"), tmp_path, FileOptions(format="flac"))
    assert done.notes == ()


def test_the_list_chunk_of_a_wav_is_read(separator, tmp_path):
    """mutagen reads the ID3 tag of a WAV alone."""
    with soundfile.SoundFile(tmp_path / "song.wav", "w", RATE, 1) as file:
        file.title, file.artist = "Song", "Änna"
        file.write(np.full(1000, 0.1))
    done = separator.separate_file(tmp_path / "song.wav", tmp_path, FileOptions(format="flac"))
    assert FLAC(done.paths["vocals"])["artist"] == ["Änna"]


def test_tags_are_found_by_the_content_of_a_file(tmp_path):
    """A FLAC may be named otherwise; mutagen knows no RF64, which is no reason to complain."""
    song = tmp_path / "song.mp3"
    soundfile.write(song, np.zeros((100, 1)), RATE, format="FLAC")
    file = FLAC(song)
    file.update(TEXTS)
    file.save()
    tags, notes = read_tags(song)
    assert (tags.texts["artist"], notes) == (TEXTS["artist"], [])
    soundfile.write(tmp_path / "song.wav", np.zeros((100, 1)), RATE, format="RF64")
    assert read_tags(tmp_path / "song.wav") == (None, [])
