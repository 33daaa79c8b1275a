"""Bytes and file objects are read as files are."""

import io
import tempfile

import numpy as np
import pytest
import soundfile

import duetto
from duetto.audio import AudioReader, load_audio
from duetto.audio.input_file import FileView
from duetto.errors import AudioError
from duetto.separation.separator import Separator
from helpers.signals import noise
from helpers.tiny import TinyModel


@pytest.fixture(params=["WAV", "FLAC", "OGG", "MP3"])
def content(request):
    data = io.BytesIO()
    soundfile.write(data, noise(2, 30_000, amplitude=0.3).T, 16_000, format=request.param)
    return data.getvalue()


class Minimal:
    """No more of a file than reading needs, and it reads in small pieces."""

    def __init__(self, data):
        self._data = io.BytesIO(data)
        self.seek, self.tell = self._data.seek, self._data.tell

    def read(self, n):
        return self._data.read(min(n, 1000))


def test_bytes_and_file_objects_give_what_the_path_gives(tmp_path, content):
    (tmp_path / "song").write_bytes(content)
    expected, rate = load_audio(tmp_path / "song")
    at_its_end = io.BytesIO(content)
    at_its_end.seek(0, io.SEEK_END)
    with (tmp_path / "song").open("rb") as opened, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(content)
        for source in (
            content,
            bytearray(content),
            memoryview(content),
            at_its_end,
            opened,
            spooled,
            Minimal(content),
        ):
            audio, got = load_audio(source)
            assert got == rate
            np.testing.assert_array_equal(audio, expected)
            np.testing.assert_array_equal(load_audio(source)[0], expected)  # and once more
        assert not opened.closed


def test_stems_of_a_file_object_are_those_of_the_path(tmp_path, content):
    (tmp_path / "song.wav").write_bytes(content)
    separator = Separator(TinyModel())
    done = separator.separate_file(tmp_path / "song.wav", tmp_path / "a")
    with (tmp_path / "song.wav").open("rb") as opened:
        named = separator.separate_file(opened, tmp_path / "b")
    unnamed = separator.separate_file(io.BytesIO(content), tmp_path / "c")
    for other in (named, unnamed):
        assert [path.read_bytes() for path in other.paths.values()] == [
            path.read_bytes() for path in done.paths.values()
        ]
    assert {path.parent.name for path in (*done.paths.values(), *named.paths.values())} == {"song"}
    assert {path.parent.name for path in unnamed.paths.values()} == {"song"}


@pytest.mark.slow
def test_the_functions_of_the_package_take_bytes(content):
    stems = duetto.separate(content)
    audio, _ = duetto.load_audio(content)
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], audio, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", r"the file object is empty \(0 bytes\)"),
        (io.StringIO("text"), r'opened as text; open it with open\(path, "rb"\)'),
        (17, "int is not an audio file; give a path, bytes or a binary file object"),
        (None, "NoneType is not an audio file"),
        (b"neither audio nor anything else" * 9, "the file object is not an audio file"),
    ],
)
def test_what_cannot_be_read_says_so(source, reason):
    with pytest.raises(AudioError, match=reason):
        load_audio(source)


def test_a_stream_that_cannot_seek_is_refused(content):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with pytest.raises(AudioError, match=r"cannot seek; .* io\.BytesIO\(file\.read\(\)\)"):
        load_audio(Pipe(content))


def test_an_error_of_the_disk_is_told():
    class Broken(io.BytesIO):
        def read(self, n=-1):
            if self.tell() > 20_000:
                raise OSError(5, "Input/output error")
            return super().read(n)

    data = io.BytesIO()
    soundfile.write(data, noise(2, 30_000).T, 16_000, format="WAV")
    with pytest.raises(AudioError, match=r"cannot be read: Input/output error|is truncated"):
        load_audio(Broken(data.getvalue()))


def test_an_object_that_grows_while_it_is_read_is_noticed(content):
    source = io.BytesIO(content)
    with AudioReader(source) as reader:
        blocks = reader.blocks(1000)
        next(blocks)
        source.seek(0, io.SEEK_END)
        source.write(b"more")
        with pytest.raises(AudioError, match="was changed while it was read"):
            list(blocks)


def test_a_path_of_more_than_1023_bytes(tmp_path):
    folder = tmp_path
    for _ in range(6):
        folder = folder / ("e" * 200)
    folder.mkdir(parents=True)
    soundfile.write(tmp_path / "song.wav", noise(1, 9000).T, 16_000)
    (tmp_path / "song.wav").rename(folder / "song.wav")
    assert load_audio(folder / "song.wav")[0].shape == (1, 9000)


def test_a_view_shows_parts_of_a_file_as_one_with_patches_over_their_edges():
    view = FileView(io.BytesIO(bytes(range(100))), [(10, 20), (50, 60)], {8: b"abcd", 18: b"wxyz", 52: b"!"})
    expected = b"cd" + bytes(range(12, 18)) + b"wx" + bytes([50, 51]) + b"!" + bytes(range(53, 60))
    assert view.read() == expected
    for start in range(20):
        for n in range(1, 21):
            view.seek(start)
            assert view.read(n) == expected[start : start + n]
    assert view.seek(0, io.SEEK_END) == 20
    assert view.read(5) == b""
