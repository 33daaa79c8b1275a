"""A stem of a WAV lies in a digital audio workstation where its song lay."""

import struct

import numpy as np
import pytest
import soundfile
from mutagen.wave import WAVE

from duetto.audio.timeline import timeline_chunks
from duetto.separation.stem_writer import FileOptions

RATE = 48_000
MIDNIGHT_PLUS_AN_HOUR = 3600 * RATE


def bext(clock, version=2, loudness=(-2300, 700, -100, -1800, -2000)):
    text = b"".join(text.ljust(n, b"\0") for text, n in ((b"Take 3", 256), (b"Recorder", 32), (b"REF1", 32)))
    when = b"2014-05-06" + b"12:34:56"
    measured = struct.pack("<5h", *loudness)
    return (
        text
        + when
        + struct.pack("<QH", clock, version)
        + bytes(range(64))
        + measured
        + bytes(180)
        + b"A=PCM,\r\n"
    )


def ixml(clock):
    low, high = clock & 0xFFFFFFFF, clock >> 32
    return (
        f"<BWFXML><SCENE>12</SCENE><SPEED><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>{high}"
        f"</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>{low}"
        "</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO></SPEED></BWFXML>"
    ).encode()


def cue(*points):
    return struct.pack("<I", len(points)) + b"".join(
        struct.pack("<II4sIII", number, sample, b"data", 0, 0, sample) for number, sample in points
    )


def label(number, text):
    content = struct.pack("<I", number) + text + b"\0"
    return b"labl" + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def smpl(*loops):
    head = struct.pack("<7I", 0, 0, 20833, 60, 0, 0, 0)
    return (
        head
        + struct.pack("<II", len(loops), 0)
        + b"".join(struct.pack("<6I", 1, 0, first, last, 0, 0) for first, last in loops)
    )


ALL = [
    (b"bext", bext(MIDNIGHT_PLUS_AN_HOUR)),
    (b"iXML", ixml(2**32 - 100)),
    (b"cue ", cue((1, 1000), (2, 30_000))),
    (b"LIST", b"adtl" + label(1, b"verse") + label(2, b"chorus")),
    (b"smpl", smpl((100, 900), (25_000, 40_000))),
]


def packed(chunks):
    return b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for name, content in chunks
    )


def song(path, before=(), after=(), rf64=False, n_samples=48_000):
    audio = np.random.default_rng(0).integers(-9000, 9000, (n_samples, 2)).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16)
    size = 0xFFFFFFFF if rf64 else len(audio)
    body = form + packed(before) + b"data" + struct.pack("<I", size) + audio + packed(after)
    if rf64:
        body = b"ds64" + struct.pack("<IQQQI", 28, len(body) + 40, len(audio), n_samples, 0) + body
    path.write_bytes(
        (b"RF64\xff\xff\xff\xff" if rf64 else b"RIFF" + struct.pack("<I", 4 + len(body))) + b"WAVE" + body
    )
    return path


def chunks_of(path):
    """Name and content of each chunk, in order; and that the sizes lead to the end of the file."""
    data = path.read_bytes()
    rf64 = data[:4] == b"RF64"
    assert rf64 or struct.unpack_from("<I", data, 4) == (len(data) - 8,)
    found, place = [], 12
    while place < len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if rf64 and name == b"data":
            size = struct.unpack_from("<Q", dict(found)[b"ds64"], 8)[0]
        found.append((name, data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    assert place == len(data)
    if rf64:
        assert struct.unpack_from("<Q", dict(found)[b"ds64"]) == (len(data) - 8,)
    return found


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("rf64", [False, True])
def test_stems_get_the_chunks_wherever_they_stood_before_their_samples(tmp_path, separator, place, rf64):
    path = song(tmp_path / "song.wav", **{place: ALL}, rf64=rf64)
    done = separator.separate_file(path, tmp_path / "out")
    total = 0
    for stem in done.paths.values():
        found = chunks_of(stem)
        names = [name for name, _ in found]
        assert names.index(b"data") > max(names.index(name) for name, _ in ALL)
        kept = dict(found)
        assert struct.unpack_from("<Q", kept[b"bext"], 338) == (MIDNIGHT_PLUS_AN_HOUR,)
        assert kept[b"bext"][:338] == bext(0)[:338]
        assert kept[b"bext"][602:] == b"A=PCM,\r\n"
        for name, content in ALL[1:]:
            assert kept[name] == content
        audio, rate = soundfile.read(stem, dtype="int16")
        assert rate == RATE
        total = total + audio.astype(int)
    np.testing.assert_array_equal(total, soundfile.read(path, dtype="int16")[0])


def test_what_is_true_of_the_song_alone_is_marked_as_unknown(tmp_path):
    song(tmp_path / "song.wav", [(b"bext", bext(5))])
    ((_, content),) = timeline_chunks(tmp_path / "song.wav", start=0, stop=48_000)
    assert content[348:412] == bytes(64)  # the unique identifier
    assert struct.unpack_from("<5h", content, 412) == (0x7FFF,) * 5  # the loudness, as EBU Tech 3285 has it
    song(tmp_path / "song.wav", [(b"bext", bext(5, version=1, loudness=(0,) * 5))])
    ((_, content),) = timeline_chunks(tmp_path / "song.wav", start=0, stop=48_000)
    assert content[412:422] == bytes(10)  # reserved in version 1


def test_a_part_lies_where_it_lay_in_the_song(tmp_path, separator):
    path = song(tmp_path / "song.wav", ALL)
    options = FileOptions(start_seconds=0.5, end_seconds=0.9)  # samples 24000 to 43200
    done = separator.separate_file(path, tmp_path / "out", options)
    for stem in done.paths.values():
        kept = dict(chunks_of(stem))
        assert struct.unpack_from("<Q", kept[b"bext"], 338) == (MIDNIGHT_PLUS_AN_HOUR + 24_000,)
        assert kept[b"iXML"] == ixml(2**32 - 100 + 24_000)
        assert kept[b"cue "] == cue((2, 6000))
        assert kept[b"LIST"] == b"adtl" + label(2, b"chorus")
        assert kept[b"smpl"] == smpl((1000, 16_000))


def test_chunks_and_tags_in_one_file(tmp_path, separator):
    path = song(tmp_path / "song.wav", ALL)
    file = WAVE(path)
    file.add_tags()
    from mutagen.id3 import TPE1

    file.tags.add(TPE1(encoding=3, text=["Anna"]))
    file.save()
    for stem in separator.separate_file(path, tmp_path / "out").paths.values():
        assert {name for name, _ in ALL} < {name for name, _ in chunks_of(stem)}
        assert WAVE(stem).tags["TPE1"].text == ["Anna"]


def test_other_formats_get_none(tmp_path, separator):
    path = song(tmp_path / "song.wav", ALL)
    for stem in separator.separate_file(path, tmp_path, FileOptions(format="flac")).paths.values():
        assert b"Take 3" not in stem.read_bytes()


@pytest.mark.parametrize(
    "chunk",
    [
        (b"bext", b"short"),
        (b"cue ", b"\xff\xff\xff\xff"),
        (b"smpl", b""),
        (b"LIST", b"adtl\0"),
        (b"iXML", b""),
    ],
)
def test_damaged_chunks_are_left_out(tmp_path, chunk):
    path = song(tmp_path / "song.wav", [chunk, (b"iXML", ixml(7))])
    assert timeline_chunks(path, start=0, stop=48_000) == ((b"iXML", ixml(7)),)


def test_what_is_no_wav_has_none(tmp_path):
    (tmp_path / "a").write_bytes(b"RIFF")
    (tmp_path / "b").write_bytes(b"")
    assert [timeline_chunks(tmp_path / name, start=0, stop=1) for name in "ab"] == [(), ()]


def test_a_bext_chunk_of_an_odd_length_can_be_read_in_rf64(tmp_path, separator):
    """libsndfile forgets the byte that pads it, and finds no samples."""
    path = song(tmp_path / "song.wav", [(b"bext", bext(5) + b"x")])
    for stem in separator.separate_file(path, tmp_path, FileOptions(format="rf64")).paths.values():
        assert soundfile.info(stem).frames == 48_000
        assert dict(chunks_of(stem))[b"bext"][602:] == b"A=PCM,\r\nx\0"
