"""All of a song is read: joined MP3s, chained Ogg, MP3 without sync or in a WAV, FLAC with tags behind it."""

import io
import struct

import numpy as np
import pytest
import soundfile

from duetto.audio import AudioReader, load_audio, output_format
from duetto.audio.tagging import read_tags
from duetto.errors import AudioError
from helpers.containers import (
    in_wav,
    mp3_bytes,
    ogg_pages,
    sealed,
    verbatim_flac,
    with_serial,
    without_tag_frame,
)
from helpers.quick import first
from helpers.signals import noise, tone

RATE = 44_100
ID3V1 = b"TAG" + b"Title".ljust(124, b"\0") + b"\x0c"
ID3V2 = b"ID3\x04\0\0\0\0\x4e\x10" + b"\xff\xfb\x90\x64" * 2500 + bytes(0x10 + (0x4E << 7) - 10_000)
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0)


def song(seed, n_samples=RATE, n_channels=2):
    """A tone with noise, other for every seed."""
    time = np.arange(n_samples) / RATE
    base = 0.3 * np.sin(2 * np.pi * 200 * (seed + 1) * time)
    return (base + noise(n_channels, n_samples, seed, 0.1)).astype(np.float32)


def samples_of(source):
    audio, _ = load_audio(source)
    with AudioReader(source) as reader:
        assert reader.info.n_samples == audio.shape[1]
    return audio


def ogg(samples, subtype="VORBIS", rate=RATE):
    data = io.BytesIO()
    soundfile.write(data, samples.T, rate, subtype, format="OGG")
    return data.getvalue()


# --- MP3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", first(2, b"", ID3V1 + ID3V2, ID3V1, ID3V2, bytes(5000)))
def test_joined_mp3s_are_read_whole_and_each_to_the_sample(tmp_path, between):
    first, second = (mp3_bytes(tmp_path / "a", song(k, RATE + 7 * k)) for k in range(2))
    expected = np.concatenate([samples_of(first), samples_of(second)], axis=1)
    assert expected.shape == (2, 2 * RATE + 7)
    (tmp_path / "song.mp3").write_bytes(ID3V2 + first + between + second + ID3V1)
    np.testing.assert_array_equal(samples_of(tmp_path / "song.mp3"), expected)


def test_the_blocks_of_a_joined_file_are_full_and_a_part_of_it_is_cut_to_the_sample(tmp_path):
    mp3 = mp3_bytes(tmp_path / "a", song(0))
    whole = samples_of(mp3 + mp3)
    with AudioReader(mp3 + mp3) as reader:
        sizes = [block.shape[1] for block in reader.blocks(10_000)]
        part = np.concatenate(list(reader.blocks(777, 40_000, 50_000)), axis=1)
    assert sizes == [10_000] * 8 + [2 * RATE - 80_000]
    np.testing.assert_array_equal(part, whole[:, 40_000:50_000])


@pytest.mark.slow
@pytest.mark.parametrize("change", [0.5, 0.01, 3.0])
def test_the_number_of_frames_in_the_tag_of_an_mp3_is_no_more_than_a_claim(tmp_path, change):
    mp3 = bytearray(mp3_bytes(tmp_path / "a", song(0, 3 * RATE)))
    expected = samples_of(bytes(mp3))
    count = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    n_frames = int.from_bytes(mp3[count : count + 4], "big")
    mp3[count : count + 4] = int(n_frames * change).to_bytes(4, "big")
    audio = samples_of(bytes(mp3))
    assert 0 <= audio.shape[1] - expected.shape[1] < 2 * 1152  # the padding, where the tag claims more
    np.testing.assert_array_equal(audio[:, : 3 * RATE], expected)


def test_a_tag_that_counts_one_frame_too_few_costs_no_samples(tmp_path):
    mp3 = bytearray(mp3_bytes(tmp_path / "a", song(0)))
    expected = samples_of(bytes(mp3))
    count = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    mp3[count : count + 4] = (int.from_bytes(mp3[count : count + 4], "big") - 1).to_bytes(4, "big")
    np.testing.assert_array_equal(samples_of(bytes(mp3)), expected)


def test_sizes_that_differ_from_that_in_the_tag_print_no_warning(tmp_path, capfd):
    mp3 = mp3_bytes(tmp_path / "a", song(0))
    tag_behind = struct.pack("<IIII8x", 2000, 40_000, 0, 0)
    for behind in (b"APETAGEX" + tag_behind + bytes(40_000), ID3V1, mp3, bytes(40_000)):
        samples_of(mp3 + behind)
        (tmp_path / "behind.mp3").write_bytes(mp3 + behind)
        read_tags(tmp_path / "behind.mp3")
    samples_of(mp3[: len(mp3) // 2])
    assert capfd.readouterr().err == ""


def test_an_mp3_cut_off_is_as_long_as_what_decodes(tmp_path):
    mp3 = mp3_bytes(tmp_path / "a", song(0, 3 * RATE))
    expected = samples_of(mp3)
    audio = samples_of(mp3[: len(mp3) // 2])
    assert RATE < audio.shape[1] < 2 * RATE
    np.testing.assert_array_equal(audio[:, :-1152], expected[:, : audio.shape[1] - 1152])


def test_joined_mp3s_of_other_rates_or_channels_are_refused(tmp_path):
    first = mp3_bytes(tmp_path / "a", song(0))
    for other, rate, what in [
        (song(1), 48_000, "2 channels at 48000"),
        (song(1, n_channels=1), RATE, "1 channels"),
    ]:
        second = mp3_bytes(tmp_path / "b", other, rate)
        for joined in (first + second, without_tag_frame(first) + without_tag_frame(second)):
            with pytest.raises(AudioError, match=f"consists of 2 files.*2 channels at 44100 Hz.*{what}"):
                load_audio(joined)


@pytest.mark.slow
@pytest.mark.parametrize("tagged", first(1, False, True))
def test_an_mp3_may_begin_with_anything_and_have_any_name(tmp_path, tagged):
    whole = mp3_bytes(tmp_path / "a", song(0, 3 * RATE))
    mp3 = whole if tagged else without_tag_frame(whole)
    expected = samples_of(mp3)
    for name in ("song.mp3", "song.wav", "song"):
        for before in (
            bytes(5000),
            bytes(200_000),
            b"\xff\xfb" + bytes(range(256)) * 2,
            ID3V2 + ID3V2 + bytes(99),
        ):
            (tmp_path / name).write_bytes(before + mp3 + APE)
            np.testing.assert_array_equal(samples_of(tmp_path / name), expected)
    (tmp_path / "cut.mp3").write_bytes(whole[5000:])
    audio = samples_of(tmp_path / "cut.mp3")
    assert 2 * RATE < audio.shape[1] < 3 * RATE
    np.testing.assert_array_equal(audio[:, -RATE:], samples_of(without_tag_frame(whole))[:, -RATE:])


def test_damage_in_the_middle_of_an_mp3_costs_the_frames_that_it_hits(tmp_path):
    mp3 = bytearray(mp3_bytes(tmp_path / "a", song(0, 3 * RATE)))
    for at in range(10_000, len(mp3) - 3000, 9000):
        mp3[at : at + 600] = b"\x55" * 600
    audio = samples_of(bytes(mp3))
    assert 2 * RATE < audio.shape[1] <= 3 * RATE


@pytest.mark.parametrize("constant", first(1, False, True))
def test_mp3_in_a_wav_is_read_whole(tmp_path, constant):
    mp3 = mp3_bytes(tmp_path / "a", song(0, 3 * RATE), constant=constant)
    frames = without_tag_frame(mp3)
    expected = samples_of(frames)
    assert expected.shape[1] >= 3 * RATE
    for name in ("song.wav", "song.mp3"):
        (tmp_path / name).write_bytes(in_wav(frames, RATE, 2))
        np.testing.assert_array_equal(samples_of(tmp_path / name), expected)
    with AudioReader(tmp_path / "song.wav") as reader:
        assert (reader.info.container, reader.info.subtype) == ("WAV", "MPEG_LAYER_III")
        assert output_format(reader.info) == ("WAV", "FLOAT")


def test_noise_and_text_are_no_mp3(tmp_path, rng):
    for data in (rng.bytes(300_000), b"\xff\xfb\x90\x64" * 10, b"Text. " * 5000, bytes(10_000)):
        with pytest.raises(AudioError, match="not an audio file"):
            load_audio(data)


# --- Ogg ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48_000)])
@pytest.mark.parametrize("serials", first(1, (7, 7, 7), (1, 2, 3)))
def test_all_links_of_a_chain_are_read(subtype, rate, serials):
    links = [ogg(song(k, rate + 100 * k), subtype, rate) for k in range(3)]
    expected = np.concatenate([samples_of(link) for link in links], axis=1)
    assert expected.shape == (2, 3 * rate + 300)
    chain = b"".join(with_serial(link, serial) for link, serial in zip(links, serials, strict=True))
    np.testing.assert_array_equal(samples_of(chain), expected)


def test_links_of_other_rates_channels_or_codecs_are_refused():
    first = ogg(song(0, 48_000), rate=48_000)
    others = [
        ogg(song(1), rate=32_000),
        ogg(song(1, n_channels=1), rate=48_000),
        ogg(song(1), "OPUS", 48_000),
    ]
    for other, what in zip(others, ["32000 Hz", "1 channels", "OPUS"], strict=True):
        with pytest.raises(AudioError, match=f"consists of 3 files.*number 2 has .*{what}"):
            load_audio(first + with_serial(other, 5) + with_serial(first, 6))


def test_streams_of_something_else_in_an_ogg_file_are_stepped_over():
    """As in films: a stream that is no audio, its pages between those of the sound."""
    sound = ogg_pages(with_serial(ogg(song(0)), 1))
    other = []
    for number in range(len(sound)):
        head = b"OggS\0" + bytes([2 if number == 0 else 0]) + bytes(8) + struct.pack("<II", 2, number)
        other.append(bytearray(head + bytes(4) + bytes([1, 100]) + b"\x80theora".ljust(100, b"\0")))
    pages = [page for pair in zip(other, sound, strict=True) for page in pair]
    audio = samples_of(b"".join(map(sealed, pages)))
    np.testing.assert_array_equal(audio, samples_of(ogg(song(0))))


@pytest.mark.parametrize("field", first(2, 0, 44_100, 8000, 16_000, 48_000, 2**32 - 1))
def test_opus_is_48_khz_whatever_its_header_says_of_the_original(field):
    """RFC 7845, section 5.1."""
    pages = ogg_pages(ogg(song(0, 48_000), "OPUS", 48_000))
    at = pages[0].index(b"OpusHead") + 12
    pages[0][at : at + 4] = struct.pack("<I", field)
    audio, rate = load_audio(b"".join(map(sealed, pages)))
    expected, _ = load_audio(ogg(song(0, 48_000), "OPUS", 48_000))
    assert rate == 48_000
    np.testing.assert_array_equal(audio, expected)


# --- FLAC --------------------------------------------------------------------------------------------------


def flac(samples, bits=16):
    data = io.BytesIO()
    soundfile.write(data, (samples.T << (32 - bits)).astype(np.int32), RATE, f"PCM_{bits}", format="FLAC")
    return data.getvalue()


@pytest.mark.parametrize("behind", [ID3V1, bytes(1), bytes(70_000), b"\xff\xf8" * 50, APE])
@pytest.mark.parametrize("n_samples", [1, 5000, 200_000])
def test_what_lies_behind_the_last_frame_of_a_flac_is_left_alone(tmp_path, rng, behind, n_samples):
    samples = rng.integers(-(2**15), 2**15, (2, n_samples))
    (tmp_path / "song.flac").write_bytes(flac(samples) + behind)
    with AudioReader(tmp_path / "song.flac") as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks(65_536)), axis=1), samples)


def test_joined_flacs_are_read_whole_or_refused(rng):
    first, second = (rng.integers(-(2**15), 2**15, (2, 50_000)) for _ in range(2))
    with AudioReader(flac(first) + ID3V1 + flac(second)) as reader:
        block = next(reader.blocks(200_000))
    np.testing.assert_array_equal(block, np.concatenate([first, second], axis=1))
    with pytest.raises(AudioError, match=r"consists of 2 files.*PCM_16.*PCM_24"):
        load_audio(flac(first) + flac(second, 24))


@pytest.mark.parametrize(("bits", "kept"), [(4, 16), (12, 16), (16, 16), (20, 24), (24, 24), (32, 32)])
def test_flac_of_every_depth_is_read_bit_for_bit(rng, bits, kept):
    samples = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 5000))
    with AudioReader(verbatim_flac(samples, bits)) as reader:
        block = next(reader.blocks(10_000))
        assert reader.info.bits == kept
        assert output_format(reader.info) == ("FLAC" if kept < 32 else "WAV", f"PCM_{kept}")
    np.testing.assert_array_equal(block, samples << (kept - bits))


# --- channels ----------------------------------------------------------------------------------------------


def loudest(audio, rate):
    """The frequency of each channel's tone, to 100 Hz."""
    return [
        round(np.abs(np.fft.rfft(channel)).argmax() * rate / len(channel) / 100) * 100 for channel in audio
    ]


@pytest.mark.parametrize("n_channels", first(2, 2, 6, 1, 3, 4, 5, 7, 8))
@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48_000)])
def test_channels_of_vorbis_and_opus_are_read_in_the_order_of_wav(n_channels, subtype, rate):
    """FFmpeg, which gives them in that order, is the reference."""
    import av

    stored = np.concatenate([tone(300 + 100 * k, 0.5, rate) for k in range(n_channels)])
    data = ogg(stored, subtype, rate)
    with av.open(io.BytesIO(data)) as file:
        frames = [
            np.concatenate([each.to_ndarray() for each in resampled], axis=1).reshape(-1, n_channels).T
            for resampled in map(av.AudioResampler(format="flt").resample, file.decode(audio=0))
        ]
    reference = np.concatenate(frames, axis=1)
    audio = samples_of(data)
    assert audio.shape == stored.shape
    assert loudest(audio, rate) == loudest(reference, rate)
    with AudioReader(data) as reader:
        assert reader.info.channel_mask.bit_count() == (n_channels if n_channels > 2 else 0)
