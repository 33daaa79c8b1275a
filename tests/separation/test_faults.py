"""What production does to a file while it is being separated: one typed error, and nothing half-written."""

import errno
import os
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from test_ffmpeg import encode

from duetto.audio import AudioReader, AudioWriter, libsndfile, load_audio
from duetto.errors import AudioError
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.command_line import duetto_apart
from helpers.files import written as names
from helpers.quick import first
from helpers.signals import chord
from helpers.tiny import TinyModel, write_model

RATE = 44_100
FORMS = [
    ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("M4A", "AAC"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("OPUS", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


@pytest.fixture(scope="module")
def separator():
    return Separator(TinyModel(), segment_seconds=0.4, overlap_seconds=0.1)


def song(path, container="WAV", subtype="PCM_16", n_samples=48_000):
    audio = np.random.default_rng(0).integers(-9000, 9000, (2, n_samples)).astype(np.int32)
    form = {"sample_rate": 48_000, "n_channels": 2, "container": container, "subtype": subtype}
    lossy = subtype in ("VORBIS", "OPUS", "MPEG_LAYER_III", "AAC")
    with AudioWriter(path, n_samples=n_samples, **form) as writer:
        writer.write((audio / 32_768).astype(np.float32) if lossy else audio)
    return path


# --- the disk is full --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", first(4, *FORMS))
@pytest.mark.parametrize("share", first(1, 0.5, 0, 0.98))
def test_a_disk_that_is_full_from_some_byte_on(tmp_path, separator, monkeypatch, form, share):
    """The error comes from the system's own write, below libsndfile and FFmpeg."""
    path = song(tmp_path / "song.wav")
    options = FileOptions(format=form[0].lower(), template="{stem}.{ext}")
    whole = separator.separate_file(path, tmp_path / "out", options).paths["accompaniment"]
    before = {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()}
    room = share * whole.stat().st_size

    class FullDisk(libsndfile.Sink):
        def write(self, data, /):
            if self.tell() + len(data) > room:
                self.error = self.error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return len(data)
            return super().write(data)

    monkeypatch.setattr(libsndfile, "Sink", FullDisk)
    with pytest.raises(AudioError, match=r"cannot be written: No space left on device; check .* free space"):
        separator.separate_file(path, tmp_path / "out", options)
    assert {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()} == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("container", ["ogg", "opus", "m4a"])
def test_a_limit_of_the_system_in_the_middle(tmp_path, container):
    model_path = write_model(tmp_path / "tiny.onnx")
    path = song(tmp_path / "song.wav")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))"
    arguments = ("separate", path, "-n", model_path, "-o", tmp_path / "out", "--format", container)
    outcome = duetto_apart(*arguments, before=limit)
    assert (outcome.code, len(outcome.err)) == (1, 1)
    assert "cannot be written: File too large" in outcome.err[0]
    assert not [*(tmp_path / "out").rglob(f"*.{container}"), *(tmp_path / "out").rglob("*.part")]


def test_a_disk_that_is_full_when_the_tags_are_written(tmp_path, separator, monkeypatch):
    from mutagen.flac import FLAC

    path = song(tmp_path / "song.flac", "FLAC")
    file = FLAC(path)
    file["title"] = "Song"
    file.save()

    def full(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FLAC, "save", full)
    with pytest.raises(AudioError, match="cannot be written: No space left on device"):
        separator.separate_file(path, tmp_path / "out")
    assert names(tmp_path) == ["song.flac"]


# --- the song changes while it is read ---------------------------------------------------------------------


def cut(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def delete(path):
    path.unlink()


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(1000))


def grow(path):
    with path.open("ab") as file:
        file.write(bytes(1000))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
@pytest.mark.parametrize(
    "fault",
    first(1, cut, delete, overwrite, grow, replace),
)
@pytest.mark.parametrize(
    "form",
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("M4A", "AAC")],
)
def test_a_song_that_changes_while_it_is_read(tmp_path, separator, form, fault):
    path = song(tmp_path / "song", *form)
    os.utime(path, ns=(1, 1))  # so that a change shows on file systems with a coarse clock
    seen = []

    def progress(done, total):
        if not seen:
            fault(path)
        seen.append(done)

    with pytest.raises(AudioError, match=f"{path} (was changed|was deleted|is truncated|has NaN)"):
        separator.separate_file(path, tmp_path / "out", progress=progress)
    assert seen
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", [delete, replace])
def test_a_song_that_changes_between_opening_and_reading(tmp_path, fault):
    path = song(tmp_path / "song.wav")
    os.utime(path, ns=(1, 1))
    with AudioReader(path) as reader:
        fault(path)
        with pytest.raises(AudioError):
            list(reader.blocks(1000))


# --- headers that lie --------------------------------------------------------------------------------------


def wav(path):
    data = bytearray(song(path, n_samples=1000).read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = (2**32 - 10**9).to_bytes(4, "little")
    return data


def w64(path):
    data = bytearray(song(path, "W64", n_samples=1000).read_bytes())
    place = data.index(b"data\xf3") + 16
    data[place : place + 8] = (4 * 10**12).to_bytes(8, "little")
    return data


def rf64(path):
    data = bytearray(song(path, "RF64", n_samples=1000).read_bytes())
    data[20:44] = (4 * 10**12).to_bytes(8, "little") * 2 + (10**12).to_bytes(8, "little")
    return data


def aiff(path):
    data = bytearray(song(path, "AIFF", n_samples=1000).read_bytes())
    place = data.index(b"COMM") + 10
    data[place : place + 4] = b"\xff" * 4
    place = data.index(b"SSND") + 4
    data[place : place + 4] = b"\xf0" + b"\xff" * 3
    return data


def flac(path):
    data = bytearray(song(path, "FLAC", n_samples=1000).read_bytes())
    data[21] |= 0x0F  # the 36 bits of STREAMINFO that hold the number of samples
    data[22:26] = b"\xff" * 4
    return data


@pytest.mark.parametrize("make", [wav, w64, rf64, aiff, flac])
def test_a_header_that_claims_a_million_million_samples(tmp_path, separator, make):
    path = tmp_path / "song"
    data = make(path)
    path.write_bytes(data)
    tracemalloc.start()
    for read in (load_audio, lambda path: separator.separate_file(path, tmp_path / "out")):
        with pytest.raises(AudioError, match="is truncated: the header promises"):
            read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # bytes
    assert names(tmp_path) == ["song"]


def test_a_chunk_of_more_bytes_than_a_seek_can_take(tmp_path):
    """Found by the fuzzer: libsndfile looks at the low bytes of the size of "fmt " and reads on."""
    path = song(tmp_path / "song", "W64", n_samples=1000)
    expected, _ = load_audio(path)
    data = bytearray(path.read_bytes())
    assert data[40:44] == b"fmt "
    data[40 + 16 + 7] = 0xF7
    path.write_bytes(data)
    np.testing.assert_array_equal(load_audio(path)[0], expected)


def test_an_mp4_whose_header_lies_has_the_length_that_decodes(tmp_path):
    path = encode(tmp_path / "song.m4a", chord(), "ipod", "aac", "fltp")
    data = bytearray(path.read_bytes())
    place = data.index(b"mdhd") + 4
    assert data[place] == 0  # version 0: 4 bytes of duration after two times and the time scale
    data[place + 16 : place + 20] = b"\x7f" + b"\xff" * 3
    path.write_bytes(data)
    assert 50_001 <= load_audio(path)[0].shape[1] < 50_001 + 1024


# --- places that cannot be written -------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_output_folder(tmp_path, separator):
    path = song(tmp_path / "song.wav")
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(AudioError, match="cannot be written: Permission denied"):
        separator.separate_file(path, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_file_in_the_place_of_the_output_folder(tmp_path, separator):
    path = song(tmp_path / "song.wav")
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(AudioError, match="cannot be written"):
        separator.separate_file(path, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "in the way"


def test_samples_beyond_what_can_be_transformed_are_refused(tmp_path, separator):
    soundfile.write(tmp_path / "song.wav", np.full((9000, 1), 3e38, np.float32), RATE, "FLOAT")
    with pytest.raises(AudioError, match=r"song\.wav has a sample of 3e\+38; allowed: up to 1e\+12"):
        separator.separate_file(tmp_path / "song.wav", tmp_path / "out")
    assert names(tmp_path) == ["song.wav"]
    loudest = np.float32(1e12) * np.sign(np.sin(np.arange(9000, dtype=np.float32)))
    stems = separator.separate(loudest, RATE)
    np.testing.assert_allclose(sum(stems.values()), loudest, rtol=1e-6)


def test_the_song_is_never_modified(tmp_path, separator):
    for container, subtype in FORMS:
        path = song(tmp_path / f"song.{container}", container, subtype, 9600)
        before = path.read_bytes(), path.stat().st_mtime_ns
        separator.separate_file(path, tmp_path / "out")
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
