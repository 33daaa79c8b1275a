"""M4A, MP4, MOV, Matroska, WebM, WMA and AAC, through the same reader and writer as all other files."""

import json
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from duetto.audio import AudioReader, AudioWriter, load_audio, output_format, save_audio
from duetto.audio.channels import XIPH_MASKS, same_places
from duetto.errors import AudioError
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import FileOptions
from helpers.command_line import duetto
from helpers.files import read
from helpers.quick import first
from helpers.signals import chord as tone
from helpers.signals import decibels
from helpers.tiny import TinyModel, write_model

RATE = 44_100


def encode(
    path, audio, container, codec, sample, rate=RATE, layout="stereo", video=False, options=None, family=None
):
    """Write a file with PyAV alone; `sample` is FFmpeg's name of the samples' type."""
    with av.open(
        path, "w", format=container, options={"movie_timescale": str(rate), **(options or {})}
    ) as file:
        if video:
            picture = file.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 16
        stream = file.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.format, stream.codec_context.time_base = sample, Fraction(1, rate)
        stream.bit_rate = 128_000
        if codec == "vorbis":
            stream.codec_context.options = {"strict": "experimental"}
        if family is not None:
            stream.codec_context.options = {"mapping_family": str(family)}
        if video:
            for k in range(25):
                file.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 9 * k, np.uint8))))
        for start in range(0, audio.shape[1], 1024):
            block = audio[:, start : start + 1024]
            block = block if sample.endswith("p") else block.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sample, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        if video:
            file.mux(picture.encode(None))
        file.mux(stream.encode(None))
    return path


LOSSY = {
    "m4a": ("ipod", "aac", "fltp", "MP4", "AAC"),
    "mp4": ("mp4", "aac", "fltp", "MP4", "AAC"),
    "mov": ("mov", "aac", "fltp", "MP4", "AAC"),
    "mkv": ("matroska", "aac", "fltp", "MATROSKA", "AAC"),
    "webm": ("webm", "vorbis", "fltp", "MATROSKA", "VORBIS"),
    "wma": ("asf", "wmav2", "fltp", "ASF", "WMAV2"),
    "aac": ("adts", "aac", "fltp", "ADTS", "AAC"),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_files_are_read_in_step_with_what_was_encoded(tmp_path, kind):
    container, codec, sample, name, subtype = LOSSY[kind]
    audio = tone()
    path = encode(tmp_path / f"song.{kind}", audio, container, codec, sample, video=kind in ("mp4", "mkv"))
    decoded, info = read(path)
    assert (info.container, info.subtype, info.sample_rate, info.n_channels) == (name, subtype, RATE, 2)
    assert (info.bits, info.lossy, decoded.dtype) == (None, True, np.float32)
    assert decoded.shape[1] == info.n_samples
    if name == "MP4":  # the one that counts in samples
        assert info.n_samples == 50_001
    # raw AAC cannot say that its first 1024 samples are the encoder's delay; WMA's decoder takes the first
    # 2048 samples for it, which FFmpeg's encoder does not put there
    delay = {"aac": 1024, "wma": -2048}.get(kind, 0)
    assert -2048 < decoded.shape[1] - delay - 50_001 < 2 * 2048
    late, early = max(delay, 0), max(-delay, 0)
    decoded, audio = decoded[:, late : late + 45_000], audio[:, early : early + 45_000]
    assert decibels(decoded - audio, audio) < (-10 if kind == "webm" else -20)  # FFmpeg's own Vorbis is poor


@pytest.mark.parametrize(
    ("name", "container", "codec", "sample", "bits"),
    [
        ("song.m4a", "ipod", "alac", "s16p", 16),
        ("song.m4a", "ipod", "alac", "s32p", 24),
        ("song.mkv", "matroska", "flac", "s16", 16),
        ("song.mkv", "matroska", "flac", "s32", 24),
        ("song.mov", "mov", "pcm_s16le", "s16", 16),
        ("song.mov", "mov", "pcm_s24le", "s32", 24),
    ],
)
def test_lossless_files_are_read_bit_for_bit_and_divided_exactly(
    tmp_path, rng, name, container, codec, sample, bits
):
    block = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 30_001))
    kept = block.astype(np.int16) if bits == 16 else (block << 8).astype(np.int32)
    path = encode(tmp_path / name, kept, container, codec, sample)
    decoded, info = read(path)
    assert (info.bits, info.lossy) == (bits, False)
    np.testing.assert_array_equal(decoded, block)
    done = Separator(TinyModel()).separate_file(path, tmp_path / "out")
    assert {path.suffix for path in done.paths.values()} == {".wav"}
    np.testing.assert_array_equal(sum(read(path)[0] for path in done.paths.values()), block)
    assert done.null_residual == 0


def test_floats_in_a_film_stay_floats(tmp_path, rng):
    audio = rng.uniform(-2, 2, (2, 5000)).astype(np.float32)
    path = encode(tmp_path / "song.mov", audio, "mov", "pcm_f32le", "flt")
    decoded, info = read(path)
    assert info.subtype == "FLOAT"
    np.testing.assert_array_equal(decoded, audio)


@pytest.mark.parametrize("n_channels", first(2, 2, 6, 1, 3, 4, 5))
@pytest.mark.parametrize(("rate", "n_samples"), [(8000, 1), (44_100, 1000), (96_000, 50_001)])
def test_m4a_is_written_at_its_length(tmp_path, n_channels, rate, n_samples):
    audio = tone(n_channels, n_samples, rate)
    assert save_audio(tmp_path / "song.m4a", audio, rate) == 0
    decoded, got = load_audio(tmp_path / "song.m4a")
    assert (decoded.shape, got) == (audio.shape, rate)
    with av.open(tmp_path / "song.m4a") as file:
        assert file.streams.audio[0].duration == n_samples
        assert file.duration == pytest.approx(n_samples / rate * av.time_base, abs=1)
    if n_samples > 10_000:  # the channel for low frequencies is filtered
        for channel in {*range(n_channels)} - {3}:
            assert decibels(decoded[channel] - audio[channel], audio[channel]) < -20


def test_m4a_appears_whole_or_not_at_all(tmp_path):
    (tmp_path / "song.m4a").write_bytes(b"old")
    form = {"sample_rate": RATE, "n_channels": 2, "container": "M4A", "subtype": "AAC"}
    writer = AudioWriter(tmp_path / "song.m4a", **form)
    with pytest.raises(ZeroDivisionError), writer:  # noqa: PT012 (the moment in between is what is tested)
        writer.write(tone())
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["song.m4a"]
    assert (tmp_path / "song.m4a").read_bytes() == b"old"


def test_the_block_size_does_not_change_what_is_read_nor_does_a_part(tmp_path):
    path = encode(tmp_path / "song.m4a", tone(), "ipod", "aac", "fltp")
    whole, _ = read(path, 1 << 20)
    for n_samples in (777, 1024, 50_001):
        np.testing.assert_array_equal(read(path, n_samples)[0], whole)
    with AudioReader(path) as reader:
        part = np.concatenate(list(reader.blocks(1000, 12_345, 23_456)), axis=1)
    np.testing.assert_array_equal(part, whole[:, 12_345:23_456])


@pytest.mark.slow
def test_reading_takes_the_memory_of_a_block(tmp_path):
    path = encode(tmp_path / "song.m4a", tone(2, 15 * RATE), "ipod", "aac", "fltp")
    tracemalloc.start()
    with AudioReader(path) as reader:
        assert sum(block.shape[1] for block in reader.blocks(4096)) == 15 * RATE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_500_000  # bytes; the whole is 5 million


def test_stems_of_a_film_are_float_wav_or_m4a(tmp_path):
    path = encode(tmp_path / "film.mp4", tone(), "mp4", "aac", "fltp", video=True)
    separator = Separator(TinyModel())
    done = separator.separate_file(path, tmp_path / "out")
    assert {read(stem)[1].subtype for stem in done.paths.values()} == {"FLOAT"}
    done = separator.separate_file(path, tmp_path / "out", FileOptions(format="m4a"))
    assert [read(stem)[1].n_samples for stem in done.paths.values()] == [50_001, 50_001]


def test_what_has_no_sound_or_is_damaged(tmp_path):
    with av.open(tmp_path / "silent.mp4", "w") as file:
        picture = file.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 16
        file.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        file.mux(picture.encode(None))
    with pytest.raises(AudioError, match="holds no sound"):
        load_audio(tmp_path / "silent.mp4")
    whole = encode(tmp_path / "song.mp4", tone(), "mp4", "aac", "fltp").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at its end
    with pytest.raises(AudioError, match="truncated or damaged"):
        load_audio(tmp_path / "cut.mp4")


def test_a_playlist_is_never_followed(tmp_path):
    """FFmpeg would open the files and addresses that it names."""
    save_audio(tmp_path / "song.wav", tone(), RATE)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsong.wav\n")
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile song.wav\n")
    for name in ("list.m3u8", "list.txt"):
        with pytest.raises(AudioError, match="not an audio file"):
            load_audio(tmp_path / name)


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = encode(tmp_path / "song.m4a", tone(), "ipod", "aac", "fltp")
    model_path = write_model(tmp_path / "tiny.onnx")
    monkeypatch.setitem(sys.modules, "av", None)
    outcome = duetto("separate", path, "-n", model_path, "-o", tmp_path / "out")
    message = "needs FFmpeg, which is not installed; run pip install av"
    assert (outcome.code, outcome.err) == (1, [f"duetto: {path} is either not an audio file or {message}"])
    save_audio(tmp_path / "song.wav", tone(), RATE)
    song, out = tmp_path / "song.wav", tmp_path / "out"
    outcome = duetto("separate", song, "--format", "m4a", "-n", model_path, "-o", out)
    assert outcome.code == 1
    assert message in outcome.err[0]
    assert not [*(tmp_path / "out").rglob("*.m4a"), *(tmp_path / "out").rglob("*.part")]


@pytest.mark.slow
def test_separating_a_wav_does_not_import_av(tmp_path):
    save_audio(tmp_path / "song.wav", tone(), RATE)
    check = "import duetto, sys; duetto.load_audio(sys.argv[1]); print('av' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", check, tmp_path / "song.wav"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# --- more formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("container", "codec", "sample", "name"),
    [
        ("avi", "pcm_s16le", "s16", "AVI"),
        ("wv", "wavpack", "s16p", "WV"),
        ("tta", "tta", "s16", "TTA"),
        ("caf", "alac", "s16p", "CAF"),
        ("oga", "flac", "s16", "OGG FLAC"),
        ("nut", "pcm_s16le", "s16", "NUT"),
    ],
)
def test_lossless_formats_that_libsndfile_does_not_decode(tmp_path, rng, container, codec, sample, name):
    block = rng.integers(-(2**15), 2**15, (2, 50_001)).astype(np.int16)
    path = encode(tmp_path / "song", block, container, codec, sample)
    decoded, info = read(path)
    assert (info.container, info.bits) == (name, 16)
    assert output_format(info) == ("WAV", "PCM_16")
    np.testing.assert_array_equal(decoded, block)


@pytest.mark.parametrize(
    ("container", "codec", "sample"),
    [
        ("ac3", "ac3", "fltp"),
        ("eac3", "eac3", "fltp"),
        ("mpegts", "aac", "fltp"),
        ("flv", "aac", "fltp"),
        ("avi", "ac3", "fltp"),
    ],
)
def test_lossy_formats_that_libsndfile_does_not_decode(tmp_path, container, codec, sample):
    audio = tone(sample_rate=48_000)
    decoded, info = read(encode(tmp_path / "song", audio, container, codec, sample, rate=48_000))
    assert info.lossy
    assert decoded.shape[1] == info.n_samples
    assert abs(decoded.shape[1] - 50_001) < 3 * 2048
    lag = np.argmin([np.linalg.norm(decoded[0, k : k + 20_000] - audio[0, :20_000]) for k in range(2500)])
    decoded_part = decoded[:, lag : lag + 20_000]
    assert decibels(decoded_part - audio[:, :20_000], audio[:, :20_000]) < -20


SUPPORTED = [
    "AU", "AVR", "CAF", "HTK", "SVX", "MAT4", "MAT5", "MPC2K", "NIST", "PAF", "PVF", "SDS", "IRCAM", "VOC"
]  # fmt: skip


@pytest.mark.parametrize("container", SUPPORTED)
def test_every_format_of_libsndfile_is_read(tmp_path, rng, container):
    block = rng.integers(-(2**15), 2**15, 5000).astype(np.int16)
    soundfile.write(tmp_path / "song", block, 16_000, "PCM_16", format=container)
    decoded, info = read(tmp_path / "song")
    assert (info.container, info.bits, info.sample_rate) == (container, 16, 16_000)
    assert output_format(info) == ("WAV", "PCM_16")
    np.testing.assert_array_equal(decoded, [block])


@pytest.mark.parametrize("container", ["AU", "AVR", "CAF", "HTK", "SVX", "MAT4", "NIST"])
def test_such_a_file_cut_off_is_noticed(tmp_path, rng, container):
    block = rng.integers(-(2**15), 2**15, 50_000).astype(np.int16)
    soundfile.write(tmp_path / "song", block, 16_000, "PCM_16", format=container)
    data = (tmp_path / "song").read_bytes()
    with pytest.raises(AudioError, match="truncated"):
        load_audio(data[: len(data) // 2])


def test_bw64_is_rf64_by_another_name(tmp_path, rng):
    block = rng.integers(-(2**15), 2**15, (2, 5000)).astype(np.int16)
    soundfile.write(tmp_path / "song", block.T, 16_000, "PCM_16", format="RF64")
    data = (tmp_path / "song").read_bytes()
    assert data[:4] == b"RF64"
    np.testing.assert_array_equal(read(b"BW64" + data[4:])[0], block)
    with pytest.raises(AudioError, match="promises 5000 samples, 4000 are there"):
        load_audio(b"BW64" + data[4:-4000])


# --- lengths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    first(
        2,
        ("aac", "dash+delay_moov+frag_every_frame"),
        ("ac3", ""),
        ("aac", "delay_moov+frag_keyframe"),
        ("aac", "empty_moov+frag_keyframe+default_base_moof"),
    ),
)
def test_an_mp4_whose_stated_length_counts_the_priming_is_whole(tmp_path, form):
    codec, movflags = form
    audio = tone(n_samples=300_000)
    options = {"movflags": movflags, "frag_duration": "700000"} if movflags else {}
    path = encode(tmp_path / "song.mp4", audio, "mp4", codec, "fltp", options=options)
    decoded, info = read(path)
    assert info.n_samples == decoded.shape[1]
    assert 0 <= decoded.shape[1] - 300_000 < 2 * 2048
    whole = path.read_bytes()
    if movflags:  # a fragmented file that was cut off: what is there, or a refusal
        try:
            cut, _ = load_audio(whole[: len(whole) // 2])
        except AudioError:
            return
        assert cut.shape[1] > 100_000


@pytest.mark.parametrize("container", ["matroska", "avi", "asf"])
def test_a_file_cut_off_whose_header_states_its_length_is_noticed(tmp_path, container):
    codec = {"matroska": "aac", "avi": "ac3", "asf": "wmav2"}[container]
    path = encode(tmp_path / "song", tone(n_samples=10 * RATE), container, codec, "fltp")
    data = path.read_bytes()
    with pytest.raises(AudioError, match="truncated"):
        load_audio(data[: len(data) // 2])


# --- channels ----------------------------------------------------------------------------------------------

LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@pytest.mark.parametrize("n_channels", LAYOUTS)
@pytest.mark.parametrize(
    ("container", "codec", "sample"), [("mov", "pcm_s16le", "s16"), ("matroska", "flac", "s16")]
)
def test_channels_of_films_have_their_places(tmp_path, rng, n_channels, container, codec, sample):
    block = rng.integers(-(2**15), 2**15, (n_channels, 20_000)).astype(np.int16)
    path = encode(tmp_path / "film", block, container, codec, "s16", layout=LAYOUTS[n_channels])
    decoded, info = read(path)
    np.testing.assert_array_equal(decoded, block)
    assert same_places(info.channel_mask, XIPH_MASKS[n_channels])


@pytest.mark.slow
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_eight_channels_of_a_codec_with_a_plane_for_each_do_not_crash(tmp_path, container):
    """PyAV 14 to 18 reads beyond the list of planes, in processes that end with a segmentation fault."""
    audio = np.concatenate([tone(1, 96_000, 48_000) * (k + 1) / 8 for k in range(8)])
    path = encode(tmp_path / "film", audio, container, "libopus", "flt", 48_000, "7.1", family=1)
    script = "import duetto, sys; print(duetto.load_audio(sys.argv[1])[0].std(axis=1).tolist())"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    levels = np.array(json.loads(done.stdout))
    full = [k for k in range(8) if k != 3]  # Opus codes the channel for low frequencies up to 120 Hz
    np.testing.assert_allclose(levels[full], audio.std(axis=1)[full], rtol=0.1)


# --- sound tracks ------------------------------------------------------------------------------------------


def film_of(path, levels, languages):
    """A film with a sound track of each level."""
    with av.open(path, "w", format="matroska") as file:
        streams = []
        for language in languages:
            stream = file.add_stream("pcm_s16le", rate=RATE, layout="stereo")
            stream.metadata["language"] = language
            streams.append(stream)
        for level, stream in zip(levels, streams, strict=True):
            samples = np.full((1, 2 * 20_000), level, np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


def test_a_sound_track_is_chosen_by_its_number_or_language(tmp_path):
    path = film_of(tmp_path / "film.mkv", (1000, 2000, 3000), ("eng", "deu", "fra"))
    for track, level in [(1, 1000), (2, 2000), (3, 3000), ("deu", 2000), ("FRA", 3000)]:
        audio, _ = load_audio(path, audio_track=track)
        assert np.unique(audio * 32768).tolist() == [level]
    for track in (0, 4, "ita"):
        with pytest.raises(
            AudioError, match=rf"no sound track {track!r}; it has 1 \(eng, .*3 \(fra, pcm_s16le, 2"
        ):
            load_audio(path, audio_track=track)
    save_audio(tmp_path / "song.wav", tone(), RATE)
    assert load_audio(tmp_path / "song.wav", audio_track=1)[0].shape == (2, 50_001)
    with pytest.raises(AudioError, match="no sound track 2; it has one, number 1"):
        load_audio(tmp_path / "song.wav", audio_track=2)


def test_the_command_separates_the_chosen_sound_track(tmp_path):
    path = film_of(tmp_path / "film.mkv", (1000, 3000), ("eng", "deu"))
    model = write_model(tmp_path / "tiny.onnx")
    for track, level in [("2", 3000), ("eng", 1000)]:
        out = tmp_path / track
        outcome = duetto("separate", path, "-n", model, "-o", out, "--audio-track", track)
        assert outcome.code == 0
        stems = [read(stem)[0] for stem in out.rglob("*.wav")]
        assert np.unique(sum(stems)).tolist() == [level]
