"""Sizes in headers that are not those of the samples, and joined files of every container."""

import io
import struct

import numpy as np
import pytest
import soundfile

from duetto.audio import AudioReader, load_audio
from duetto.errors import AudioError
from helpers.films import write_film
from helpers.signals import noise, tone

RATE, N = 44_100, 20_000
SONG = (np.round(noise(2, N, amplitude=0.5) * 2**15) / 2**15).astype(np.float32)


def coded(container: str, samples: np.ndarray = SONG) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, RATE, "PCM_16", format=container)
    return file.getvalue()


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    content = struct.pack(form, *values)
    return data[:place] + content + data[place + len(content) :]


def assert_song(data: bytes, expected: np.ndarray = SONG) -> None:
    samples, rate = load_audio(data)
    assert rate == RATE
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC"])
def test_joined_files_are_read_whole(container):
    assert_song(coded(container) + coded(container, SONG[:, ::-1]), np.hstack([SONG, SONG[:, ::-1]]))


def test_joined_files_of_two_kinds():
    assert_song(coded("W64") + coded("AIFF") + coded("CAF"), np.hstack([SONG, SONG, SONG]))
    with pytest.raises(AudioError, match=r"consists of 2 files, .* 2 channels .* number 2 has 1 channels"):
        AudioReader(coded("WAV") + coded("AU", SONG[:1]))


def test_a_joined_file_that_is_cut_off():
    with pytest.raises(AudioError, match="truncated"):
        AudioReader(coded("W64") + coded("W64")[:-400])


def test_joined_mp4_files_are_refused(tmp_path):
    film = write_film(tmp_path / "film.m4a", [tone(300, 0.5)]).read_bytes()
    with pytest.raises(AudioError, match="consists of 2 MP4 files, one after the other; split it"):
        AudioReader(film + film)


def test_a_caf_of_unknown_size_is_read_to_its_end():
    data = coded("CAF")
    assert_song(patched(data, data.index(b"data") + 4, ">q", -1))


def test_an_au_that_states_half_of_its_samples_is_read_to_its_end():
    data = coded("AU")
    assert_song(patched(data, 8, ">I", 2 * N))


@pytest.mark.parametrize("stated", [0, N // 2, N - 1])
def test_a_flac_that_states_fewer_samples_is_read_to_its_end(stated):
    data = coded("FLAC")
    packed = int.from_bytes(data[18:26], "big")
    assert_song(patched(data, 18, ">Q", packed >> 36 << 36 | stated))


def test_a_flac_that_states_more_samples_is_refused():
    data = coded("FLAC")
    packed = int.from_bytes(data[18:26], "big")
    with pytest.raises(AudioError, match=f"promises {N + 1} samples, {N} are there"):
        load_audio(patched(data, 18, ">Q", packed >> 36 << 36 | N + 1))


@pytest.mark.parametrize(("container", "place", "form"), [("WAV", 40, "<I"), ("RF64", 28, "<Q")])
def test_a_wav_whose_size_was_never_filled_in(container, place, form):
    assert_song(patched(coded(container), place, form, 0))


def test_a_voc_of_several_blocks_has_no_clicks_between_them():
    sound = coded("VOC", SONG[:1, :1000])
    start = struct.unpack_from("<H", sound, 20)[0]
    size = int.from_bytes(sound[start + 1 : start + 4], "little")
    block = sound[start : start + 4 + size]
    assert_song(sound[:start] + block * 3 + b"\0", np.tile(SONG[:1, :1000], 3))


def test_a_wav_that_says_it_holds_mp3_but_does_not():
    with pytest.raises(AudioError, match="the file object"):
        AudioReader(patched(coded("WAV"), 20, "<H", 0x55))
