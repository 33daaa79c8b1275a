"""Audio in and out: exact, atomic, and clear about what it refuses."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import (
    EXTENSIONS,
    AudioInfo,
    AudioReader,
    AudioWriter,
    check_waveform,
    load_audio,
    output_format,
    quantise,
    save_audio,
    to_float,
)
from duetto.audio.channels import XIPH_MASKS
from duetto.errors import AudioError
from helpers.files import read
from helpers.files import written as names
from helpers.signals import chord as tone

INTEGER_FORMATS = [
    (container, subtype)
    for container in ("WAV", "RF64", "W64", "FLAC", "AIFF")
    for subtype in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")
    if soundfile.check_format(container, subtype)
]


def write(path, block, container="WAV", subtype="PCM_16", sample_rate=8000):
    with AudioWriter(
        path,
        sample_rate=sample_rate,
        n_channels=len(block),
        container=container,
        subtype=subtype,
        n_samples=block.shape[1],
    ) as writer:
        writer.write(block)
    return path


# --- exactness ---------------------------------------------------------------------------------------------


@given(
    form=st.sampled_from(INTEGER_FORMATS),
    n_samples=st.integers(1, 3000),
    n_channels=st.integers(1, 8),
    sample_rate=st.sampled_from([8000, 11_025, 44_100, 48_000, 96_000, 192_000]),
    n_block=st.integers(1, 1500),
    seed=st.integers(0, 2**32 - 1),
)
def test_integers_survive_reading_and_writing_bit_for_bit(
    tmp_path, form, n_samples, n_channels, sample_rate, n_block, seed
):
    container, subtype = form
    bits = AudioInfo(sample_rate, n_channels, n_samples, container, subtype).bits
    rng = np.random.default_rng(seed)
    original = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (n_channels, n_samples)).astype(np.int32)
    first = write(tmp_path / "first", original, container, subtype, sample_rate)
    with AudioReader(first) as reader:
        info = reader.info
        with AudioWriter(
            tmp_path / "second",
            sample_rate=info.sample_rate,
            n_channels=info.n_channels,
            container=info.container,
            subtype=info.subtype,
            n_samples=info.n_samples,
        ) as writer:
            for block in reader.blocks(n_block):
                assert block.dtype == np.int32
                assert block.shape[1] <= n_block
                writer.write(block)
    copy, copied_info = read(tmp_path / "second")
    np.testing.assert_array_equal(copy, original)
    mask = XIPH_MASKS[n_channels] if container == "FLAC" and n_channels > 2 else 0
    assert copied_info == info == AudioInfo(sample_rate, n_channels, n_samples, container, subtype, mask)
    assert (tmp_path / "second").read_bytes() == first.read_bytes()


@pytest.mark.parametrize(("container", "subtype"), INTEGER_FORMATS)
def test_integers_are_those_that_soundfile_wrote(tmp_path, rng, container, subtype):
    bits = AudioInfo(8000, 2, 500, container, subtype).bits
    limit = 2 ** (bits - 1)
    native = rng.integers(-limit, limit, (2, 500))
    native[:, :2] = [-limit, limit - 1]
    path = tmp_path / "song"
    soundfile.write(path, (native.T << (32 - bits)).astype(np.int32), 8000, subtype, format=container)
    block, info = read(path)
    np.testing.assert_array_equal(block, native)
    assert (info.bits, info.lossy) == (bits, False)
    audio, _ = load_audio(path)
    np.testing.assert_allclose(audio, native / limit, rtol=2**-24, atol=0)
    if bits <= 24:
        back, n_clipped = quantise(audio, bits)
        np.testing.assert_array_equal(back, native)
        assert n_clipped == 0


def test_unsigned_8_bit_is_centred_on_zero(tmp_path):
    header = b"RIFF" + (36 + 4).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0, 1, 0, 1, 0])
    header += (8000).to_bytes(4, "little") * 2 + bytes([1, 0, 8, 0]) + b"data" + bytes([4, 0, 0, 0])
    (tmp_path / "song.wav").write_bytes(header + bytes([0, 127, 128, 255]))
    np.testing.assert_array_equal(read(tmp_path / "song.wav")[0], [[-128, -1, 0, 127]])


def test_32_bit_integers_are_exact(tmp_path):
    """Read as float32, 2**31 - 1 comes back as 2**31 and every odd sample above 2**24 is lost."""
    block = np.array([[2**31 - 1, -(2**31), 2**24 + 1, -(2**30) - 1, 1, -1]], np.int32)
    np.testing.assert_array_equal(read(write(tmp_path / "a.wav", block, subtype="PCM_32"))[0], block)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF"])
@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", np.float32), ("DOUBLE", np.float64)])
def test_floats_are_exact_even_beyond_full_scale(tmp_path, rng, container, subtype, dtype):
    block = (rng.standard_normal((3, 2000)) * 10.0 ** rng.integers(-30, 11, (3, 2000))).astype(dtype)
    copy, info = read(write(tmp_path / "song", block, container, subtype), n_samples=333)
    assert copy.dtype == dtype
    np.testing.assert_array_equal(copy, block)
    assert (info.bits, info.lossy, info.container, info.subtype) == (None, False, container, subtype)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 6, 7])
def test_very_short_floats_keep_their_length(tmp_path, container, subtype, n_samples):
    """In AIFF libsndfile counts the rest of a longer header, with its PEAK chunk, as samples."""
    block = np.arange(1, 1 + n_samples, dtype=np.float64)[np.newaxis]
    path = write(tmp_path / "song", block, container, subtype)
    np.testing.assert_array_equal(read(path)[0], block)
    assert soundfile.info(path).frames == n_samples


@pytest.mark.parametrize(
    ("extension", "sample_rate"), [(".ogg", 44_100), (".opus", 48_000), (".mp3", 44_100)]
)
@pytest.mark.parametrize("n_samples", [1, 1000, 50_001])
def test_lossy_codecs_keep_the_length(tmp_path, extension, sample_rate, n_samples):
    path = tmp_path / f"song{extension}"
    original = tone(2, n_samples, sample_rate)
    assert save_audio(path, original, sample_rate) == 0
    audio, rate = load_audio(path)
    _, info = read(path)
    assert (audio.shape, rate, info.n_samples) == (original.shape, sample_rate, n_samples)
    assert (info.bits, info.lossy) == (None, True)
    if n_samples > 10_000:  # in step with the original, 20 dB above the error at least
        assert np.sum((audio - original) ** 2) < 0.01 * np.sum(original**2)


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".opus", ".mp3"])
def test_the_block_size_does_not_change_what_is_read(tmp_path, extension):
    path = tmp_path / f"song{extension}"
    save_audio(path, tone(2, 20_000, 48_000), 48_000)
    with AudioReader(path) as reader:
        whole, again, small = (np.concatenate(list(reader.blocks(n)), axis=1) for n in (20_000, 20_000, 777))
    np.testing.assert_array_equal(small, whole)
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("extension", [".wav", ".aiff", ".w64", ".flac"])
def test_equal_samples_give_equal_files_at_any_time(tmp_path, extension, rng):
    """libsndfile puts the time of writing into the PEAK chunk of float files."""
    audio = rng.uniform(-1, 1, (2, 100)).astype(np.float32)
    subtype = "PCM_24" if extension == ".flac" else "FLOAT"
    save_audio(tmp_path / f"a{extension}", audio, 8000, subtype=subtype)
    data = (tmp_path / f"a{extension}").read_bytes()
    assert b"PEAK" not in data
    save_audio(tmp_path / f"b{extension}", audio, 8000, subtype=subtype)
    assert (tmp_path / f"b{extension}").read_bytes() == data


def test_reading_takes_the_memory_of_a_block(tmp_path):
    block = np.zeros((2, 100_000), np.int32)
    with AudioWriter(
        tmp_path / "long.wav", sample_rate=44_100, n_channels=2, container="WAV", subtype="PCM_16"
    ) as writer:
        for _ in range(4):
            writer.write(block)
    tracemalloc.start()
    with AudioReader(tmp_path / "long.wav") as reader:
        assert sum(block.shape[1] for block in reader.blocks(1000)) == 400_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000  # bytes; the whole file is 3 million as int32


# --- numbers -----------------------------------------------------------------------------------------------


def test_quantise_rounds_half_to_even_and_counts_what_saturates():
    audio = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 127.4, 127.5, 200, -128, -128.5, -129]]) / 128
    block, n_clipped = quantise(audio, 8)
    np.testing.assert_array_equal(block, [[0, 2, 2, 0, -2, 127, 127, 127, -128, -128, -128]])
    assert block.dtype == np.int32
    assert n_clipped == 3


def test_quantise_reaches_both_ends_of_32_bits():
    block, n_clipped = quantise(np.array([[1.0, -1.0]], np.float32), 32)
    np.testing.assert_array_equal(block, [[2**31 - 1, -(2**31)]])
    assert n_clipped == 1


def test_to_float_scales_integers_and_only_casts_floats():
    assert to_float(np.array([[-(2**31), 2**30]], np.int32), 32).tolist() == [[-1.0, 0.5]]
    assert to_float(np.array([[1.5]]), None).dtype == np.float32


# --- validation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_validation_gives_float32_channels_first(dtype, rng):
    mono, stereo = rng.uniform(-1, 1, 50).astype(dtype), rng.uniform(-1, 1, (2, 50)).astype(dtype)
    mono.flags.writeable = stereo.flags.writeable = False
    assert check_waveform(mono).shape == (1, 50)
    checked = check_waveform(stereo, sample_rate=44_100)
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, stereo.astype(np.float32))


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (np.zeros(5, np.int16), r"integers \(int16\).*audio / 32768"),
        (np.zeros(5, np.uint8), r"\(uint8\).*\(audio - 128\.0\) / 128"),
        (np.zeros(5, bool), "holds bool"),
        (np.zeros(5, complex), "holds complex128"),
        (["a"], "holds <U1"),
        ([[0.0, 1.0], [0.0]], "differ in length"),
        (np.float32(1), r"shape \(\)"),
        (np.zeros((1, 1, 5)), r"shape \(1, 1, 5\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        ([], r"shape \(0,\)"),
        (np.zeros((44_100, 2)), r"44100 channels; allowed: 1 to 64; is it transposed\? pass audio\.T"),
        (np.zeros((65, 100)), "65 channels; allowed: 1 to 64$"),
        (
            [[0, 0, 0], [0, np.nan, -np.inf]],
            "has 2 NaN or infinite samples, the first is sample 1 of channel 1",
        ),
        ([0.0, 1e300], "has 1 NaN or infinite samples, the first is sample 1 of channel 0"),
    ],
)
def test_validation_says_why_it_refuses(audio, reason):
    with pytest.raises(AudioError, match=reason):
        check_waveform(audio)


@pytest.mark.parametrize("sample_rate", [8000, 192_000, np.int32(44_100), 44_100.0, np.float64(48_000)])
def test_whole_sample_rates_pass(sample_rate):
    check_waveform([0.0], sample_rate=sample_rate)


@pytest.mark.parametrize(
    "sample_rate", [7999, 192_001, 0, -44_100, 44_100.5, np.nan, np.inf, "44100", True, 1j]
)
def test_other_sample_rates_do_not(sample_rate):
    with pytest.raises(AudioError, match=r"sample rate .*; allowed: 8000 to 192000 Hz"):
        check_waveform([0.0], sample_rate=sample_rate)


# --- files that cannot be read -----------------------------------------------------------------------------


def assert_refused(path, reason):
    with pytest.raises(AudioError, match=reason) as caught:
        load_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_audio_file(tmp_path):
    assert_refused(tmp_path / "missing.wav", "does not exist")
    assert_refused(tmp_path, "is a folder")
    assert_refused(tmp_path / ("x" * 300 + ".wav"), "cannot be read: File name too long")
    for name, data, reason in [
        ("empty.wav", b"", r"empty \(0 bytes\)"),
        ("text.wav", b"This is text, not audio.\n" * 20, "not an audio file"),
        ("text.mp3", b"This is text, not audio.\n" * 20, "not an audio file"),
        ("noise.raw", bytes(range(256)), "not an audio file"),
        ("stub.flac", b"fLaC", "not an audio file"),
    ]:
        (tmp_path / name).write_bytes(data)
        assert_refused(tmp_path / name, reason)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert_refused(tmp_path / "pipe.wav", "is not a regular file")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_forbidden_file(tmp_path):
    path = write(tmp_path / "song.wav", np.ones((1, 9), np.int32))
    path.chmod(0)
    assert_refused(path, "cannot be read: Permission denied")


def test_audio_out_of_range(tmp_path):
    for name, n_samples, n_channels, sample_rate, container, reason in [
        ("slow.wav", 9, 1, 4000, "WAV", "sample rate 4000; allowed: 8000 to 192000"),
        ("fast.wav", 9, 1, 384_000, "WAV", "sample rate 384000"),
        ("wide.wav", 9, 65, 8000, "WAV", "65 channels; allowed: 1 to 64"),
        ("none.wav", 0, 1, 8000, "WAV", "holds no samples"),
    ]:
        path = tmp_path / name
        soundfile.write(path, np.zeros((n_samples, n_channels)), sample_rate, "PCM_16", format=container)
        assert_refused(path, reason)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite_are_placed(tmp_path, subtype):
    samples = np.zeros((100_000, 2))
    samples[70_001, 1] = np.nan
    samples[70_002, 0] = np.inf
    soundfile.write(tmp_path / "song.wav", samples, 8000, subtype)
    assert_refused(tmp_path / "song.wav", "2 NaN or infinite samples, the first is sample 70001 of channel 1")


def test_a_block_has_at_least_one_sample(tmp_path):
    with (
        AudioReader(write(tmp_path / "song.wav", np.ones((1, 9), np.int32))) as reader,
        pytest.raises(AudioError, match="a block of 0 samples"),
    ):
        next(reader.blocks(0))


# --- files cut off -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF"])
@pytest.mark.parametrize(("subtype", "n_bytes"), [("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4), ("ULAW", 1)])
def test_a_file_cut_off_is_noticed(tmp_path, container, subtype, n_bytes):
    path = tmp_path / "song"
    soundfile.write(path, np.zeros((1000, 2)), 8000, subtype, format=container)
    load_audio(path)
    whole = path.read_bytes()
    tail = len(whole) - whole.rindex({"AIFF": b"SSND", "W64": b"data\xf3"}.get(container, b"data"))
    tail -= {"AIFF": 16, "W64": 24}.get(container, 8) + 2000 * n_bytes  # what follows the samples
    path.write_bytes(whole[: len(whole) - tail - 999 * n_bytes - 1])
    assert_refused(path, "is truncated: the header promises 1000 samples, 500 are there")
    path.write_bytes(whole[: len(whole) - tail - 1])
    assert_refused(path, "is truncated: the header promises 1000 samples, 999 are there")


def test_a_wav_of_nothing_but_its_header_is_truncated(tmp_path):
    path = write(tmp_path / "song.wav", np.ones((1, 1000), np.int32))
    path.write_bytes(path.read_bytes()[:44])
    assert_refused(path, "promises 1000 samples, 0 are there")


def test_adpcm_cut_off_is_noticed(tmp_path):
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((5050, 1)), 8000, "IMA_ADPCM")
    path.write_bytes(path.read_bytes()[:-1024])
    assert_refused(path, "is truncated")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_wav_that_was_streamed_is_whole(tmp_path, size):
    path = write(tmp_path / "song.wav", np.arange(1000, dtype=np.int32)[np.newaxis])
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path, n_samples=100)[0], [np.arange(1000)])


def test_a_wav_that_is_empty_is_not_taken_for_a_streamed_one(tmp_path):
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((0, 1)), 8000, "PCM_16")
    data = bytearray(path.read_bytes() + b"LIST" + (4).to_bytes(4, "little") + b"INFO")
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    path.write_bytes(data)
    assert_refused(path, "holds no samples")


def test_chunks_around_the_samples_are_stepped_over(tmp_path):
    data = write(tmp_path / "song.wav", np.arange(1000, dtype=np.int32)[np.newaxis]).read_bytes()
    odd = b"LIST" + (5).to_bytes(4, "little") + b"INFO\0\0"  # 5 bytes and one to make them even
    (tmp_path / "song.wav").write_bytes(data[:36] + odd + data[36:] + odd)
    np.testing.assert_array_equal(read(tmp_path / "song.wav")[0], [np.arange(1000)])
    (tmp_path / "song.wav").write_bytes((data[:36] + odd + data[36:])[:-200])
    assert_refused(tmp_path / "song.wav", "promises 1000 samples, 900 are there")


def test_a_flac_cut_off_or_damaged_is_noticed(tmp_path, rng):
    path = write(tmp_path / "song.flac", rng.integers(-(2**15), 2**15, (2, 50_000)), "FLAC")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert_refused(path, "is truncated")
    path.write_bytes(data[: len(data) // 2] + b"\xff\x00\x55" * 9 + data[len(data) // 2 + 27 :])
    assert_refused(path, "truncated or damaged")


def test_a_flac_without_a_length_is_counted(tmp_path, rng):
    original = rng.integers(-(2**15), 2**15, (2, 50_000))
    path = write(tmp_path / "song.flac", original, "FLAC")
    data = bytearray(path.read_bytes())
    data[8 + 13] &= 0xF0  # the 36 bits of STREAMINFO that hold the number of samples
    data[8 + 14 : 8 + 18] = bytes(4)
    path.write_bytes(data)
    block, info = read(path)
    np.testing.assert_array_equal(block, original)
    assert info.n_samples == 50_000


@pytest.mark.parametrize("extension", [".ogg", ".opus"])
def test_ogg_cut_off_is_still_audio(tmp_path, extension):
    path = tmp_path / f"song{extension}"
    save_audio(path, tone(1, 400_000, 48_000), 48_000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    audio, _ = load_audio(path)
    assert 100_000 < audio.shape[1] < 400_000


def mp3(path, n_samples, tagged):
    """A quiet tone under a loud start, at a variable bit rate; the Xing tag is a frame of its own."""
    audio = tone(1, n_samples)
    noise = np.random.default_rng(1).uniform(-1, 1, n_samples).astype(np.float32)
    audio[0, :20_000] = noise[:20_000]
    with soundfile.SoundFile(
        path, "w", 44_100, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as sound:
        sound.write(audio.T)
    if not tagged:
        data = path.read_bytes()
        path.write_bytes(data[data.index(data[:2], data.index(b"Xing")) :])
    return audio


def test_an_mp3_cut_off_is_still_audio(tmp_path):
    mp3(tmp_path / "song.mp3", 200_000, tagged=True)
    data = (tmp_path / "song.mp3").read_bytes()
    (tmp_path / "song.mp3").write_bytes(data[: len(data) * 2 // 3])
    audio, _ = load_audio(tmp_path / "song.mp3")
    assert 20_000 < audio.shape[1] < 200_000


@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\0\x4e\x10" + bytes(10_000)])
def test_an_mp3_without_a_length_tag_is_read_to_its_end(tmp_path, before):
    """libsndfile guesses the length from the first frames: a loud start lost half of the song."""
    path = tmp_path / "song.mp3"
    original = mp3(path, 200_000, tagged=False)
    path.write_bytes(before + path.read_bytes() + b"TAG" + bytes(125))
    audio, info = read(path)
    assert info.n_samples == audio.shape[1]
    assert (
        200_000 <= audio.shape[1] < 200_000 + 4 * 1152
    )  # the encoder's delay and padding, unknown without a tag
    # The tail is the song's: the tone, at its level.
    assert np.std(audio[0, 150_000:190_000]) == pytest.approx(np.std(original[0, 150_000:190_000]), rel=0.01)


# --- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "FLAC", "AIFF", "OGG", "OPUS", "MP3"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, container):
    path = tmp_path / "song"
    path.write_bytes(b"old")
    subtype = {"OGG": "VORBIS", "OPUS": "OPUS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    block = (
        tone(1, 5000) if EXTENSIONS[container] in (".ogg", ".opus", ".mp3") else np.ones((1, 5000), np.int32)
    )
    writer = AudioWriter(path, sample_rate=48_000, n_channels=1, container=container, subtype=subtype)
    with pytest.raises(KeyboardInterrupt), writer:  # noqa: PT012 (the moment in between is what is tested)
        writer.write(block)
        assert path.read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["song"]
    with writer:
        writer.write(block)
    assert names(tmp_path) == ["song"]
    assert load_audio(path)[0].shape == (1, 5000)


def test_folders_are_made_and_after_a_failure_removed(tmp_path):
    path = tmp_path / "a" / "b" / "song.wav"
    writer = AudioWriter(path, sample_rate=8000, n_channels=1, container="WAV", subtype="PCM_16")
    with pytest.raises(ZeroDivisionError), writer:
        raise ZeroDivisionError
    assert names(tmp_path) == []
    write(path, np.ones((1, 9), np.int32))
    assert names(path.parent) == ["song.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_others_may_read_what_is_written(tmp_path):
    path = write(tmp_path / "song.wav", np.ones((1, 9), np.int32))
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(
    sys.platform == "win32", reason="the limit is of 255 bytes, and names are bytes, elsewhere"
)
@pytest.mark.parametrize(
    "name", ["x" * 251 + ".wav", "ü 歌 \n.wav", os.fsdecode(b"latin \xfc.wav"), "noise.raw"]
)
def test_any_name_that_the_system_allows(tmp_path, name):
    write(tmp_path / name, np.ones((1, 9), np.int32))
    if not name.endswith(".raw"):
        np.testing.assert_array_equal(read(tmp_path / name)[0], np.ones((1, 9)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/song.wav", "cannot be written: "),
        ("folder", "is not a regular file"),
        ("x" * 300 + ".wav", "cannot be written: File name too long"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(AudioError, match=reason):
        write(tmp_path / name, np.ones((1, 9), np.int32))
    assert (names(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_forbidden_folder(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(AudioError, match="cannot be written: Permission denied"):
        write(tmp_path / "locked" / "song.wav", np.ones((1, 9), np.int32))


FULL_DISK = """
import resource, signal, sys
import numpy as np
from duetto.audio import AudioWriter
from duetto.errors import AudioError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
block = np.random.default_rng(0).integers(-2**15, 2**15, (2, 10_000))
if sys.argv[3] == "VORBIS":
    block = block / 2.0**15
try:
    form = {"sample_rate": 44100, "n_channels": 2, "container": sys.argv[2], "subtype": sys.argv[3]}
    with AudioWriter(sys.argv[1], **form) as writer:
        for _ in range(3):
            writer.write(block)
except AudioError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize(
    ("container", "subtype", "n_bytes"),
    [(*form, n) for form in (("WAV", "PCM_16"), ("FLAC", "PCM_16")) for n in (10, 20_000, 70_000)]
    + [("OGG", "VORBIS", 10), ("OGG", "VORBIS", 5000), ("WAV", "PCM_16", 120_043)],
)
def test_a_full_disk_is_noticed(tmp_path, container, subtype, n_bytes):
    path = tmp_path / "song"
    path.write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, container, subtype, str(n_bytes)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith(f"{path} cannot be written: File too large; check the folder")
    assert path.read_bytes() == b"old"
    assert result.stderr == ""
    assert names(tmp_path) == ["song"]


@pytest.mark.parametrize(
    ("block", "subtype", "reason"),
    [
        (np.zeros((1, 5)), "PCM_16", "takes integers"),
        (np.zeros((1, 5), np.int32), "FLOAT", "takes floats"),
        (np.zeros((2, 5), np.int32), "PCM_16", r"\(1, n\).*\(2, 5\)"),
        (np.zeros(5, np.int32), "PCM_16", r"got int32 \(5,\)"),
        (np.array([[0, 32768]]), "PCM_16", "exceeds 16 bits: 0 to 32768"),
        (np.array([[-129, 0]]), "PCM_U8", "exceeds 8 bits: -129 to 0"),
        (np.array([[0, np.nan]]), "FLOAT", "NaN or infinite"),
    ],
)
def test_blocks_that_do_not_fit_the_file(tmp_path, block, subtype, reason):
    writer = AudioWriter(tmp_path / "a.wav", sample_rate=8000, n_channels=1, container="WAV", subtype=subtype)
    with pytest.raises(AudioError, match=reason), writer:
        writer.write(block)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("extension", "container", "subtype"),
    [
        (".wav", "WAV", "FLOAT"),
        (".WAV", "WAV", "FLOAT"),
        (".w64", "W64", "FLOAT"),
        (".flac", "FLAC", "PCM_24"),
        (".aiff", "AIFF", "PCM_24"),
        (".aif", "AIFF", "PCM_24"),
        (".ogg", "OGG", "VORBIS"),
        (".opus", "OGG", "OPUS"),
        (".mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
def test_the_extension_says_what_is_saved(tmp_path, extension, container, subtype):
    path = tmp_path / f"song{extension}"
    save_audio(path, tone(2, 3000, 48_000), 48_000.0)
    _, info = read(path)
    assert info == AudioInfo(48_000, 2, 3000, container, subtype)


def test_saving_counts_clips_and_refuses_what_it_does_not_know(tmp_path):
    assert save_audio(tmp_path / "a.flac", [0.0, 1.5, -1.0, -1.5], 8000, subtype="PCM_16") == 2
    assert read(tmp_path / "a.flac")[0].tolist() == [[0, 32767, -32768, -32768]]
    with pytest.raises(AudioError, match=r"no extension of an audio file; allowed: .*\.flac"):
        save_audio(tmp_path / "a.txt", [0.0], 8000)
    with pytest.raises(AudioError, match=r"FLAC cannot hold FLOAT; allowed: .*PCM_24"):
        save_audio(tmp_path / "b.flac", [0.0], 8000, subtype="FLOAT")


# --- formats of stems --------------------------------------------------------------------------------------


def info(container, subtype, sample_rate=44_100, n_channels=2):
    return AudioInfo(sample_rate, n_channels, 1000, container, subtype)


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        (info("WAV", "PCM_16"), {}, ("WAV", "PCM_16")),
        (info("WAV", "DOUBLE"), {}, ("WAV", "DOUBLE")),
        (info("RF64", "PCM_24", n_channels=8), {}, ("RF64", "PCM_24")),
        (info("FLAC", "PCM_S8", 192_000, 8), {}, ("FLAC", "PCM_S8")),
        (info("AIFF", "PCM_32"), {}, ("AIFF", "PCM_32")),
        (info("WAV", "ULAW"), {}, ("WAV", "PCM_16")),
        (info("WAV", "IMA_ADPCM"), {}, ("WAV", "PCM_16")),
        (info("AIFF", "DWVW_24"), {}, ("AIFF", "PCM_24")),
        (info("MP3", "MPEG_LAYER_III"), {}, ("WAV", "FLOAT")),
        (info("OGG", "OPUS", 48_000), {}, ("WAV", "FLOAT")),
        (info("WAV", "MPEG_LAYER_III"), {}, ("WAV", "FLOAT")),
        (info("WAV", "PCM_16"), {"container": "FLAC"}, ("FLAC", "PCM_16")),
        (info("WAV", "PCM_32"), {"container": "FLAC"}, ("FLAC", "PCM_24")),
        (info("WAV", "FLOAT"), {"container": "FLAC"}, ("FLAC", "PCM_24")),
        (info("OGG", "VORBIS"), {"container": "FLAC"}, ("FLAC", "PCM_24")),
        (info("WAV", "PCM_U8"), {"container": "FLAC"}, ("FLAC", "PCM_S8")),
        (info("WAV", "PCM_U8"), {"container": "AIFF"}, ("AIFF", "PCM_U8")),
        (info("FLAC", "PCM_S8"), {"container": "WAV"}, ("WAV", "PCM_U8")),
        (info("FLAC", "PCM_24"), {"container": "MP3"}, ("MP3", "MPEG_LAYER_III")),
        (info("FLAC", "PCM_24"), {"container": "OGG"}, ("OGG", "VORBIS")),
        (info("FLAC", "PCM_24", 48_000), {"container": "OPUS"}, ("OPUS", "OPUS")),
        (info("MP3", "MPEG_LAYER_III"), {"subtype": "PCM_24"}, ("WAV", "PCM_24")),
        (info("FLAC", "PCM_16"), {"subtype": "PCM_24"}, ("FLAC", "PCM_24")),
        (info("FLAC", "PCM_16"), {"subtype": "FLOAT"}, ("WAV", "FLOAT")),
    ],
)
def test_the_format_of_stems(source, options, expected):
    assert output_format(source, **options) == expected


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        (
            info("WAV", "PCM_16", n_channels=6),
            {"container": "MP3"},
            "cannot hold 6 channels.*1 or 2 channels",
        ),
        (info("WAV", "PCM_16", 96_000), {"container": "MP3"}, "at 96000 Hz; allowed: .*48 kHz"),
        (
            info("WAV", "PCM_16", n_channels=9),
            {"container": "FLAC"},
            "cannot hold 9 channels.*1 to 8 channels",
        ),
        (
            info("WAV", "PCM_16"),
            {"container": "FLAC", "subtype": "FLOAT"},
            "FLAC cannot hold FLOAT; allowed: ",
        ),
        (info("WAV", "PCM_16"), {"subtype": "PCM_20"}, "WAV cannot hold PCM_20; allowed: PCM_16"),
        (info("WAV", "PCM_16", 192_000), {"container": "M4A"}, "at 192000 Hz; allowed: .*96 kHz"),
        (info("WAV", "PCM_16"), {"container": "MP4"}, "container 'MP4' is unknown; allowed: "),
    ],
)
def test_formats_that_cannot_hold_the_stems(source, options, reason):
    with pytest.raises(AudioError, match=reason):
        output_format(source, **options)
