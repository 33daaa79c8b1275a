"""What of a song is written: which stems, which part, at which levels, how it is coded."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import AudioReader, load_audio
from duetto.audio.writer import AudioWriter
from duetto.errors import AudioError, ConfigError
from duetto.separation.remainder import STEMS
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.files import read
from helpers.files import written as names
from helpers.quick import at_most, first
from helpers.tiny import TinyModel

RATE = 16_000
FORMS = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"), ("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24"),
    ("AIFF", "FLOAT"), ("W64", "PCM_32"), ("W64", "DOUBLE"), ("RF64", "PCM_16"), ("RF64", "FLOAT"),
]  # fmt: skip
DEPTHS = {"PCM_16": "16", "PCM_24": "24", "PCM_32": "32", "FLOAT": "32f", "DOUBLE": "64f"}


@pytest.fixture(scope="module")
def separator():
    return Separator(TinyModel(), segment_seconds=0.4, overlap_seconds=0.1)


def song(path, n_samples=12_000, n_channels=2, container="FLAC", subtype="PCM_16", rate=RATE, seed=0):
    audio = np.random.default_rng(seed).uniform(-0.7, 0.7, (n_samples, n_channels))
    soundfile.write(path, audio, rate, subtype, format=container)
    return path


@given(
    form=st.sampled_from(FORMS),
    out=st.sampled_from([None, *(form for form in FORMS if form[1] in DEPTHS)]),
    rate=st.sampled_from([8000, 11_025, 44_100, 96_000, 192_000]),
    n_channels=st.integers(1, 8),
    n_samples=st.integers(1, 9000),
    seed=st.integers(0, 99),
)
def test_stems_of_any_file_sum_to_it(tmp_path, separator, form, out, rate, n_channels, n_samples, seed):
    path = song(tmp_path / "song", n_samples, n_channels, *form, rate, seed)
    before = path.read_bytes()
    options = FileOptions(format=out[0].lower(), bit_depth=DEPTHS[out[1]]) if out else FileOptions()
    done = separator.separate_file(path, tmp_path / "out", options)
    assert path.read_bytes() == before
    bits = done.info.bits
    whole = read(path)[0] / (2.0 ** (bits - 1) if bits else 1.0)
    stems = {}
    for stem, written in done.paths.items():
        with AudioReader(written) as reader:
            info = reader.info
            block = np.concatenate(list(reader.blocks(4096)), axis=1)
        assert (info.sample_rate, info.n_channels, info.n_samples) == (rate, n_channels, n_samples)
        assert (info.container, info.subtype) == (out or form)
        stems[stem] = block / (2.0 ** (info.bits - 1) if info.bits else 1.0)
        assert done.peaks[stem] == np.abs(stems[stem]).max()
    residual = np.abs(sum(stem.astype(np.float64) for stem in stems.values()) - whole)
    assert done.null_residual == residual.max()
    if info.bits is None:
        ulp = np.spacing(np.maximum(np.abs(whole), np.max(np.abs(list(stems.values())), axis=0)).astype("f4"))
        assert np.all(residual <= ulp)
    elif bits is not None and info.bits >= bits:
        assert done.null_residual == 0
    else:
        assert done.null_residual <= 2.0**-info.bits


def test_the_sums_residual_tells_what_was_saturated(tmp_path, separator):
    soundfile.write(tmp_path / "loud.wav", np.full((100, 1), 1.5), RATE, "FLOAT")
    done = separator.separate_file(tmp_path / "loud.wav", tmp_path / "out", FileOptions(bit_depth="16"))
    assert done.null_residual == 1.5 - 32767 / 32768
    assert done.n_clipped >= 100


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_one_stem_alone_is_the_stem_of_both(tmp_path, separator, stem, subtype):
    path = song(tmp_path / "song.wav", container="WAV", subtype=subtype)
    both = separator.separate_file(path, tmp_path / "both")
    alone = separator.separate_file(path, tmp_path / "alone", FileOptions(stems=(stem,)))
    assert list(alone.paths) == [stem]
    assert [file.name for file in (tmp_path / "alone").rglob("*.*")] == [f"{stem}.wav"]
    assert alone.paths[stem].read_bytes() == both.paths[stem].read_bytes()
    assert alone.peaks == {stem: both.peaks[stem]}
    assert alone.null_residual is None
    options = FileOptions(stems=(stem,), template="{track}.{ext}")  # one stem needs no {stem}
    assert separator.separate_file(path, tmp_path / "plain", options).paths == {
        stem: tmp_path / "plain/song.wav"
    }


@at_most(25)
@given(
    form=st.sampled_from(
        [("FLAC", "PCM_16"), ("WAV", "FLOAT"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")]
    ),
    edges=st.tuples(st.integers(0, 44_000), st.integers(0, 44_000)).filter(lambda pair: pair[0] != pair[1]),
)
def test_a_part_is_cut_to_the_sample_and_is_all_that_the_network_sees(tmp_path, separator, form, edges):
    start, stop = sorted(edges)
    container, subtype = form
    path = song(tmp_path / f"song.{container}", 44_100, 1, container, subtype, 44_100)
    options = FileOptions(start_seconds=start / 44_100, end_seconds=stop / 44_100, bit_depth="32f")
    done = separator.separate_file(path, tmp_path / "out", options)
    audio, _ = load_audio(path)
    for stem, expected in separator.separate(audio[:, start:stop], 44_100).items():
        np.testing.assert_array_equal(read(done.paths[stem])[0], expected)


def test_progress_counts_the_part_alone(tmp_path, separator):
    seen = []
    path = song(tmp_path / "song.flac")
    options = FileOptions(start_seconds=0.1, end_seconds=0.6)
    separator.separate_file(path, tmp_path, options, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (8000, 8000)


@pytest.mark.parametrize(("start", "end"), [(0.75, None), (7, None), (0, 0.7501), (0.5, 100), (0.1, 0.10001)])
def test_a_part_that_the_song_has_not(tmp_path, separator, start, end):
    path = song(tmp_path / "song.flac")
    with pytest.raises(
        ConfigError, match=r"has no part from .* (seconds to its end|to .* seconds): it lasts 0\.750 seconds"
    ):
        separator.separate_file(path, tmp_path / "out", FileOptions(start_seconds=start, end_seconds=end))
    assert names(tmp_path) == ["song.flac"]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_a_mix_is_the_stems_at_other_levels(tmp_path, separator, subtype):
    path = song(tmp_path / "song.wav", container="WAV", subtype=subtype)
    stems = separator.separate_file(path, tmp_path / "stems", FileOptions(bit_depth="64f")).paths
    vocals, accompaniment = (read(stems[stem])[0] for stem in STEMS)
    done = separator.separate_file(path, tmp_path, FileOptions(mix={"vocals": -6.0, "accompaniment": 0.0}))
    assert list(done.paths) == ["mix"]
    assert done.paths["mix"].name == "mix.wav"
    bits = done.info.bits
    mix = read(done.paths["mix"])[0] / (2.0 ** (bits - 1) if bits else 1)
    tolerance = 0.5001 / 2.0 ** (bits - 1) if bits else 1e-7
    np.testing.assert_allclose(mix, 10 ** (-6 / 20) * vocals + accompaniment, atol=tolerance)
    assert done.peaks == {"mix": np.abs(mix).max()}


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_mix_of_levels_0_is_the_song_and_loud_ones_clip(tmp_path, separator, subtype):
    path = song(tmp_path / "song.wav", container="WAV", subtype=subtype)
    options = FileOptions(mix=dict.fromkeys(STEMS, 0.0))
    done = separator.separate_file(path, tmp_path / "same", options)
    np.testing.assert_array_equal(read(done.paths["mix"])[0], read(path)[0])
    assert done.n_clipped == 0
    loud = FileOptions(mix=dict.fromkeys(STEMS, 20.0), bit_depth="16")
    done = separator.separate_file(path, tmp_path / "loud", loud)
    assert done.n_clipped == np.count_nonzero(np.abs(read(done.paths["mix"])[0]) >= 32_767)


def test_a_stem_that_is_not_in_the_mix_is_silent(tmp_path, separator):
    path = song(tmp_path / "song.wav", container="WAV", subtype="DOUBLE")
    options = FileOptions(mix={"vocals": 0.0})
    mix = separator.separate_file(path, tmp_path, options).paths["mix"]
    vocals = separator.separate_file(path, tmp_path / "v", FileOptions(stems=("vocals",))).paths["vocals"]
    np.testing.assert_allclose(read(mix)[0], read(vocals)[0], atol=1e-15)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stems": ()}, "one at least"),
        ({"stems": ("drums",)}, "allowed: vocals, accompaniment"),
        ({"stems": ("vocals", "vocals")}, "each stem once"),
        ({"mix": {}}, "must name a stem"),
        ({"mix": {"drums": 0}}, "'drums'"),
        ({"mix": {"vocals": 90}}, "90 dB; allowed: -200 to 60 dB"),
        ({"mix": {"vocals": float("nan")}}, "nan dB"),
        ({"mix": {"vocals": 0}, "stems": ("vocals",)}, "either mix or stems"),
        ({"start_seconds": -1}, "a start of 0 or more"),
        ({"start_seconds": 2, "end_seconds": 1}, "an end after it"),
        ({"start_seconds": float("nan")}, "a start of 0 or more"),
        ({"bitrate_kbps": 192, "quality": 5}, "choose one of them"),
        ({"bitrate_kbps": 1000}, "8 to 512"),
        ({"quality": 11}, "choose 0 to 10"),
    ],
)
def test_options_that_make_no_sense(options, reason):
    with pytest.raises(ConfigError, match=reason):
        FileOptions(**options)


# --- coding ------------------------------------------------------------------------------------------------


def size(separator, path, folder, **options):
    done = separator.separate_file(path, folder, FileOptions(stems=("vocals",), **options))
    return done.paths["vocals"].stat().st_size


@pytest.mark.parametrize("kbps", first(1, 128, 32, 320))
def test_an_mp3_has_the_bit_rate_that_was_asked_for(tmp_path, separator, kbps):
    path = song(tmp_path / "song.wav", 5 * 44_100, 1, "WAV", "PCM_16", 44_100)
    n_bytes = size(separator, path, tmp_path, format="mp3", bitrate_kbps=kbps)
    assert n_bytes * 8 / 5 / 1000 == pytest.approx(kbps, rel=0.03)


@pytest.mark.slow
def test_opus_and_m4a_follow_the_bit_rate(tmp_path, separator):
    path = song(tmp_path / "song.wav", 2 * 48_000, 2, "WAV", "PCM_16", 48_000)
    for form in ("opus", "m4a"):
        sizes = [size(separator, path, tmp_path, format=form, bitrate_kbps=rate) for rate in (64, 192)]
        assert 2 < sizes[1] / sizes[0] < 4


def test_quality_makes_mp3_and_ogg_larger_and_flac_smaller(tmp_path, separator):
    path = song(tmp_path / "song.wav", 44_100, 2, "WAV", "PCM_16", 44_100)
    for form in ("mp3", "ogg", "flac"):
        low, high = (size(separator, path, tmp_path, format=form, quality=q) for q in (0, 10))
        assert (low < high) is (form != "flac")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "wav", "bitrate_kbps": 128}, "cannot be set for WAV"),
        ({"format": "ogg", "bitrate_kbps": 128}, "cannot be set for OGG"),
        ({"format": "opus", "quality": 5}, "OPUS has no such setting"),
        ({"format": "mp3", "bitrate_kbps": 320}, "at 16000 Hz: 8 to 160 kbit/s"),
    ],
)
def test_codings_that_a_format_has_not(tmp_path, separator, options, reason):
    path = song(tmp_path / "song.flac")
    with pytest.raises(ConfigError, match=reason):
        separator.separate_file(path, tmp_path / "out", FileOptions(**options))
    assert names(tmp_path) == ["song.flac"]


@pytest.mark.parametrize(
    "container", first(3, "WAV", "OGG", "M4A", "RF64", "W64", "FLAC", "AIFF", "OPUS", "MP3")
)
def test_the_same_song_gives_the_same_bytes_in_every_format(tmp_path, separator, container):
    path = song(tmp_path / "song.wav", 20_000, 1, "WAV", "FLOAT", 48_000)
    options = FileOptions(format=container.lower())
    first, second = (separator.separate_file(path, tmp_path / folder, options) for folder in "ab")
    for stem in STEMS:
        assert first.paths[stem].read_bytes() == second.paths[stem].read_bytes()


# --- more than 4 GiB ---------------------------------------------------------------------------------------


def test_a_wav_that_would_pass_4_gib_becomes_rf64(tmp_path, separator, monkeypatch):
    path = song(tmp_path / "song.wav", container="WAV", subtype="PCM_24")
    n_bytes = 12_000 * 2 * 3
    for limit, magic in ((n_bytes, b"RIFF"), (n_bytes - 1, b"RF64")):
        monkeypatch.setattr("duetto.audio.writer.WAV_LIMIT", limit)
        done = separator.separate_file(path, tmp_path / "out")
        for stem in done.paths.values():
            assert stem.suffix == ".wav"
            header = stem.read_bytes()[:48]
            assert header[:4] == magic
            if magic == b"RF64":
                assert header[12:16] == b"ds64"
                sizes = np.frombuffer(header[20:44], "<u8").tolist()
                assert sizes == [stem.stat().st_size - 8, n_bytes, 12_000]
        total = sum(read(stem)[0].astype(np.int64) for stem in done.paths.values())
        np.testing.assert_array_equal(total, read(path)[0])


def test_the_limit_leaves_room_for_a_header_and_tags():
    from duetto.audio.writer import WAV_LIMIT

    assert 2**32 - WAV_LIMIT >= 2**24
    writer = AudioWriter(
        "x.wav",
        sample_rate=192_000,
        n_channels=8,
        container="WAV",
        subtype="FLOAT",
        n_samples=WAV_LIMIT // 32,
    )
    assert writer._kind == "WAV"


@pytest.mark.parametrize("n_channels", [1, 6])
def test_a_wav_of_unknown_length_is_a_wav_where_it_fits(tmp_path, n_channels):
    """libsndfile's header for it has room to become RF64; short files are plain WAV to every reader."""
    block = np.arange(600 * n_channels, dtype=np.int32).reshape(n_channels, -1)
    form = {"sample_rate": RATE, "n_channels": n_channels, "container": "WAV", "subtype": "PCM_16"}
    with AudioWriter(tmp_path / "a.wav", **form) as writer:
        writer.write(block)
    data = (tmp_path / "a.wav").read_bytes()
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert data[12:16] == b"JUNK"
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], block)


@pytest.mark.parametrize(
    ("container", "n_samples"), [("WAV", 10), ("AIFF", 10), ("AIFF", None), ("AIFF", 501)]
)
def test_sizes_never_overflow_their_32_bits(tmp_path, monkeypatch, container, n_samples):
    monkeypatch.setattr("duetto.audio.writer.WAV_LIMIT", 1000)
    form = {"sample_rate": RATE, "n_channels": 1, "container": container, "subtype": "PCM_16"}

    def write():
        with AudioWriter(tmp_path / "a", **form, n_samples=n_samples) as writer:
            writer.write(np.ones((1, 501), np.int32))

    with pytest.raises(AudioError, match=f"501 samples do not fit into {container}"):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_5_1_keeps_its_channels_and_says_where_they_stand(tmp_path, separator, subtype):
    path = song(tmp_path / "song.wav", 9000, 6, "WAVEX", subtype, 192_000)
    for stem in separator.separate_file(path, tmp_path / "out").paths.values():
        data = stem.read_bytes()
        place = data.index(b"fmt ")
        assert data[place + 8 : place + 12] == b"\xfe\xff\x06\0"  # extensible, 6 channels
        assert int.from_bytes(data[place + 28 : place + 32], "little") == 0x3F  # FL FR FC LFE BL BR
        assert int.from_bytes(data[place + 12 : place + 16], "little") == 192_000


# --- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("stem", STEMS)
def test_a_stem_that_would_replace_the_song_through_a_link_is_refused(tmp_path, separator, link, stem):
    path = song(tmp_path / "song.flac")
    content = path.read_bytes()
    link(path, tmp_path / f"{stem}.flac")
    with pytest.raises(AudioError, match="would overwrite the song"):
        separator.separate_file(path, tmp_path, FileOptions(template="{stem}.{ext}"))
    with pytest.raises(AudioError, match="would overwrite the song"):
        separator.separate_file(
            tmp_path / f"{stem}.flac", tmp_path, FileOptions(template="song.{ext}", stems=(stem,))
        )
    assert path.read_bytes() == content
    assert names(tmp_path) == sorted(["song.flac", f"{stem}.flac"])


def test_a_folder_in_the_place_of_a_stem_and_a_file_in_that_of_a_folder(tmp_path, separator):
    path = song(tmp_path / "song.flac")
    (tmp_path / "vocals.flac").mkdir()
    with pytest.raises(AudioError, match="not a regular file"):
        separator.separate_file(path, tmp_path, FileOptions(template="{stem}.{ext}"))
    Path(tmp_path / "tiny").write_text("in the way")
    with pytest.raises(AudioError, match=r"cannot be written: (File exists|Not a directory)"):
        separator.separate_file(path, tmp_path)
    assert names(tmp_path) == ["song.flac", "tiny", "vocals.flac"]
