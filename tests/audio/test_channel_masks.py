"""Every channel of a written file comes out at the loudspeaker that it was made for."""

import struct

import av
import numpy as np
import pytest

from duetto.audio import AudioWriter, load_audio
from duetto.audio.channels import same_places
from duetto.errors import AudioError
from helpers.quick import first

RATE = 48_000
BITS = {
    name: 1 << k
    for k, name in enumerate(["FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"])
}
LAYOUTS = first(
    4, "2.1", "5.1", "5.1(side)", "7.1",
    "3.0", "4.0", "quad", "3.1", "5.0", "5.0(side)", "6.1", "7.1(wide)",
)  # fmt: skip
EXACT = first(
    2, ("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "FLOAT"), ("RF64", "PCM_24"), ("AIFF", "PCM_16")
)


def mask_of(layout):
    return sum(BITS[channel.name] for channel in av.AudioLayout(layout).channels)


def tones(n_channels):
    """A low tone in each channel that even the one for low frequencies passes on: 30, 40, ... Hz."""
    time = np.arange(RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (30 + 10 * c) * time) for c in range(n_channels)])


def write(path, audio, container, subtype, mask, n_samples=None):
    full_scale = {"PCM_16": 2**15, "PCM_24": 2**23, "PCM_32": 2**31}.get(subtype)
    form = {"sample_rate": RATE, "n_channels": len(audio), "container": container, "subtype": subtype}
    with AudioWriter(path, channel_mask=mask, n_samples=n_samples, **form) as writer:
        writer.write(
            audio.astype(np.float32) if full_scale is None else (audio * full_scale).astype(np.int32)
        )
    return path


def by_ffmpeg(path):
    """The tone that FFmpeg finds in each channel, by the channel's name."""
    packed = av.AudioResampler(format="flt")  # PyAV crashes on 8 channels that are apart
    with av.open(str(path)) as file:
        frames = [part for frame in file.decode(audio=0) for part in packed.resample(frame)]
    channels = [channel.name for channel in frames[0].layout.channels]
    audio = np.concatenate([frame.to_ndarray().reshape(-1, len(channels)) for frame in frames])
    part = audio[RATE // 4 : 3 * RATE // 4] * np.hanning(RATE // 2)[:, np.newaxis]
    peaks = 2 * np.abs(np.fft.rfft(part, axis=0)).argmax(axis=0)
    return dict(zip(channels, (10 * round(hz / 10) for hz in peaks), strict=True))


def expected(mask):
    present = [name for name, bit in BITS.items() if mask & bit]
    return {name: 30 + 10 * k for k, name in enumerate(present)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", EXACT)
def test_a_mask_is_written_as_it_is(tmp_path, layout, form):
    mask = mask_of(layout)
    audio = tones(mask.bit_count())
    path = write(tmp_path / "song", audio, *form, mask)
    assert by_ffmpeg(path) == expected(mask)


@pytest.mark.parametrize("n_samples", [None, RATE])
def test_a_wav_of_known_and_unknown_length_has_the_mask(tmp_path, n_samples):
    path = write(tmp_path / "song.wav", tones(4), "WAV", "PCM_16", 0x107, n_samples)
    assert path.read_bytes()[:4] == b"RIFF"
    assert by_ffmpeg(path) == {"FL": 30, "FR": 40, "FC": 50, "BC": 60}


@pytest.mark.parametrize(("mask", "names"), [(0x600, {"SL", "SR"}), (0x3, {"FL", "FR"}), (0, {"FL", "FR"})])
def test_two_channels_at_other_places_than_the_front(tmp_path, mask, names):
    path = write(tmp_path / "song.wav", tones(2), "WAV", "PCM_16", mask, RATE)
    extensible = path.read_bytes()[20:22] == b"\xfe\xff"
    assert extensible is (mask == 0x600)  # plain files stay plain
    if extensible:
        assert set(by_ffmpeg(path)) == names


@pytest.mark.parametrize("container", ["WAV", "RF64"])
def test_a_mask_is_not_invented(tmp_path, container):
    """libsndfile puts 5.1 into a file of six channels of which nobody knows where they belong."""
    data = write(tmp_path / "song.wav", tones(6), container, "PCM_16", 0).read_bytes()
    place = data.index(b"fmt ") + 8
    assert struct.unpack_from("<HH", data, place) == (0xFFFE, 6)
    assert struct.unpack_from("<I", data, place + 20) == (0,)


@pytest.mark.parametrize("layout", ["2.1", "4.0", "5.1", "5.1(side)", "7.1"])
@pytest.mark.parametrize("subtype", first(1, "PCM_24", "PCM_16", "FLOAT"))
def test_w64_becomes_extensible(tmp_path, layout, subtype):
    mask = mask_of(layout)
    path = write(tmp_path / "song.w64", tones(mask.bit_count()), "W64", subtype, mask)
    header = path.read_bytes()[:160]
    assert struct.unpack_from("<Q", header, 16) == (path.stat().st_size,)
    assert header[40:44] == b"fmt "
    assert struct.unpack_from("<Q", header, 56) == (64,)
    bits = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}[subtype]
    assert struct.unpack_from("<HH", header, 64) == (0xFFFE, mask.bit_count())
    assert struct.unpack_from("<HHI", header, 80) == (22, bits, mask)
    tag = 3 if subtype == "FLOAT" else 1
    assert header[88:104] == struct.pack("<H", tag) + bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")
    assert by_ffmpeg(path) == expected(mask)
    np.testing.assert_allclose(load_audio(path)[0], tones(mask.bit_count()), atol=2**-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    first(3, "3.0", "5.1", "7.1", "quad", "5.0", "5.1(side)", "6.1"),
)
@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OPUS", "OPUS")])
def test_vorbis_and_opus_have_an_order_of_their_own(tmp_path, layout, container, subtype):
    mask = mask_of(layout)
    found = by_ffmpeg(write(tmp_path / "song", tones(mask.bit_count()), container, subtype, mask))
    assert same_places(sum(BITS[name] for name in found), mask)
    by_place = dict(sorted(found.items(), key=lambda item: BITS[item[0]]))
    assert list(by_place.values()) == list(expected(mask).values())


def test_channels_without_places_are_written_in_the_order_that_ogg_gives_them(tmp_path):
    assert by_ffmpeg(write(tmp_path / "song", tones(6), "OGG", "VORBIS", 0)) == expected(0x3F)


@pytest.mark.parametrize("layout", first(2, "quad", "5.1", "2.1", "3.0", "4.0", "5.0", "5.1(side)"))
def test_m4a_says_the_places(tmp_path, layout):
    mask = mask_of(layout)
    found = by_ffmpeg(write(tmp_path / "song.m4a", tones(mask.bit_count()), "M4A", "AAC", mask))
    assert same_places(sum(BITS[name] for name in found), mask)
    assert list(found.values()) == list(expected(mask).values())


@pytest.mark.parametrize(
    ("container", "subtype", "layout"),
    [
        ("OGG", "VORBIS", "4.0"),
        ("OGG", "VORBIS", "2.1"),
        ("OPUS", "OPUS", "7.1(wide)"),
        ("M4A", "AAC", "3.1"),
    ],
)
def test_places_that_a_format_cannot_tell_are_refused(tmp_path, container, subtype, layout):
    mask = mask_of(layout)
    with pytest.raises(AudioError, match=f"{container} cannot hold . channels for front left.*choose WAV"):
        write(tmp_path / "song", tones(mask.bit_count()), container, subtype, mask)
    assert not list(tmp_path.iterdir())
