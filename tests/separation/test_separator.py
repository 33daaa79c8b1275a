import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from duetto.audio import AudioReader
from duetto.errors import AudioError, ConfigError, ModelError
from duetto.separation.separator import Separator, separate
from duetto.separation.settings import SeparationSettings
from duetto.separation.stem_writer import FileOptions
from helpers.files import write_song
from helpers.quick import at_most, first
from helpers.signals import decibels, noise, tone
from helpers.streams import cut, streamed
from helpers.tiny import METADATA, ConstantModel, TinyModel

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)
LOSSLESS = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"), ("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_S8"),
    ("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("AIFF", "PCM_32"), ("AIFF", "FLOAT"), ("W64", "PCM_24"),
    ("RF64", "PCM_16"),
]  # fmt: skip


@pytest.fixture(scope="module")
def drnn(tmp_path_factory):
    """A real network, small and with random weights, exported as users would."""
    import torch
    from safetensors.torch import save_file

    from duetto.training.config import Config, DRNNConfig
    from duetto.training.exporter import export
    from duetto.training.networks import build_network

    torch.manual_seed(0)
    config = Config(network=DRNNConfig(hidden_size=16))
    folder = tmp_path_factory.mktemp("drnn")
    save_file(build_network(config.network, 513).state_dict(), folder / "weights.safetensors")
    return Separator(export(config, folder / "weights.safetensors", folder / "small.onnx").path)


@st.composite
def songs(draw):
    rate = draw(st.sampled_from(RATES))
    n_channels = draw(st.sampled_from([1, 2, 3, 8]))
    n_samples = draw(st.one_of(st.integers(1, 40), st.integers(41, 9000)))
    return noise(n_channels, n_samples, draw(st.integers(0, 9))), rate


@st.composite
def segmentations(draw):
    overlap = draw(st.floats(0.001, 0.05))
    return {"overlap_seconds": overlap, "segment_seconds": overlap * draw(st.floats(2, 6))}


@at_most(20)
@given(songs(), segmentations(), st.sampled_from([1, 0, 0.3]))
def test_any_rate_channels_and_length_keep_their_shape_and_sum_to_the_mixture(song, segmentation, mask):
    audio, rate = song
    before = audio.copy()
    stems = Separator(ConstantModel(mask), **segmentation).separate(audio, rate)
    assert list(stems) == ["vocals", "accompaniment"]
    assert all(stem.shape == audio.shape and stem.dtype == np.float32 for stem in stems.values())
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], audio, atol=1.2e-7)
    np.testing.assert_allclose(stems["vocals"], np.float32(mask) * audio, atol=1e-6)
    assert np.array_equal(audio, before)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_mask_of_1_gives_the_mixture_back_through_the_usual_segments(rate):
    audio = noise(2, 40 * rate)
    vocals = Separator(ConstantModel(1)).separate(audio, rate)["vocals"]
    np.testing.assert_allclose(vocals, audio, atol=1e-6)


def test_one_dimension_in_one_dimension_out():
    stems = Separator(ConstantModel(0.3)).separate(noise(1, 5000)[0], 16000)
    assert {stem.shape for stem in stems.values()} == {(5000,)}


def test_doubles_and_whole_float_rates_are_accepted():
    stems = Separator(ConstantModel(1)).separate(noise(1, 5000).astype(np.float64), 16000.0)
    assert stems["vocals"].dtype == np.float32


@pytest.mark.parametrize("rate", RATES)
def test_a_mask_is_applied_at_the_right_hertz(rate):
    below_1_khz = (np.arange(513) < 64).astype(np.float32)
    passes, stops = tone(700, sample_rate=rate), tone(1300, sample_rate=rate)
    stems = Separator(ConstantModel(below_1_khz)).separate(passes + stops, rate)
    middle = slice(rate // 8, -rate // 8)
    assert decibels((stems["vocals"] - passes)[:, middle], passes) < -35
    assert decibels((stems["accompaniment"] - stops)[:, middle], stops) < -35


@pytest.mark.parametrize("rate", RATES)
def test_the_cut_of_a_mask_lies_within_a_bin_of_its_hertz(rate):
    """Bin 200 is at 3125 Hz at every rate, though n_fft is rounded: two bins away a tone is in or out."""
    mask = (np.arange(513) < 200).astype(np.float32)
    middle = slice(rate // 4, -rate // 4)
    for offset, expected in ((-47, 1), (47, 0)):
        song = tone(3125 - 7.8 + offset, sample_rate=rate)
        vocals = Separator(ConstantModel(mask)).separate(song, rate)["vocals"]
        kept = np.linalg.norm(vocals[:, middle]) / np.linalg.norm(song[:, middle])
        assert kept == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_above_the_networks_band_the_mask_goes_on_as_the_mean_of_its_top_eighth(rate):
    mask = np.full(513, 0.9, np.float32)
    mask[-64:] = np.linspace(0.1, 0.5, 64)
    song = tone(15000, sample_rate=rate)
    vocals = Separator(ConstantModel(mask)).separate(song, rate)["vocals"]
    middle = slice(rate // 8, -rate // 8)
    np.testing.assert_allclose(vocals[:, middle], 0.3 * song[:, middle], atol=1e-3)


@pytest.mark.parametrize("rate", RATES)
def test_the_model_gets_the_same_magnitudes_at_every_rate(rate):
    network, own = ConstantModel(1), ConstantModel(1)
    Separator(network).separate(tone(1000, sample_rate=rate), rate)
    Separator(own).separate(tone(1000, sample_rate=16000), 16000)
    found, expected = network.inputs[0][0, 8:-8].mean(axis=0), own.inputs[0][0, 8:-8].mean(axis=0)
    assert found.argmax() == 64
    assert found[64] == pytest.approx(expected[64], rel=2e-3)
    top = 513 * min(rate, 16000) // 16000
    assert np.all(found[top + 1 :] == 0)


def test_a_binary_mask_is_all_or_nothing():
    mask = np.where(np.arange(513) < 64, 0.6, 0.4)
    passes, stops = tone(700, sample_rate=16000), tone(1300, sample_rate=16000)
    vocals = Separator(ConstantModel(mask), mask="binary").separate(passes + stops, 16000)["vocals"]
    assert decibels((vocals - passes)[:, 2000:-2000], passes) < -35


def test_griffin_lim_changes_the_phase_and_keeps_the_sum():
    audio = noise(2, 20_000)
    plain = Separator(TinyModel()).separate(audio, 16000)
    found = Separator(TinyModel(), griffin_lim_iterations=3).separate(audio, 16000)
    assert decibels(found["vocals"] - plain["vocals"], plain["vocals"]) > -40
    np.testing.assert_allclose(sum(found.values()), audio, atol=3e-7)


def test_segments_do_not_click():
    """A sustained tone, cut into many segments or into none, under a mask that depends on what it sees."""
    song = tone(440, 20, 16000) + tone(1234.5, 20, 16000, amplitude=0.01)
    whole = Separator(TinyModel(), segment_seconds=60).separate(song, 16000)["vocals"]
    pieces = Separator(TinyModel(), segment_seconds=2, overlap_seconds=0.5).separate(song, 16000)["vocals"]
    assert decibels(pieces - whole, whole) < -60
    assert np.abs(pieces - whole).max() < 1e-3


@at_most(10)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=8), segmentations())
def test_a_stream_gives_what_separate_gives_bit_for_bit(lengths, segmentation):
    audio = noise(2, sum(lengths))
    separator = Separator(TinyModel(), **segmentation)
    found = streamed(separator, cut(audio, lengths), 16000)
    for name, stem in separator.separate(audio, 16000).items():
        assert np.array_equal(found[name], stem)


@pytest.mark.slow
def test_a_long_stream_holds_no_more_than_a_short_one():
    separator = Separator(TinyModel())

    def peak(minutes):
        blocks = (noise(1, 8000) for _ in range(60 * minutes))
        tracemalloc.start()
        n_samples = sum(block["vocals"].shape[-1] for block in separator.stream(blocks, 8000))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_samples == minutes * 60 * 8000
        return held

    short, long = peak(2), peak(20)
    assert long < 1.3 * short
    assert long < 20 * 60 * 8000 * 4 / 2  # half of what the stream itself would take


@pytest.mark.parametrize("audio", [np.full((1, 9000), 0.25), np.ones((2, 1)), np.full((1, 300), -1.0)])
def test_dc_one_sample_and_less_than_a_frame(drnn, audio):
    stems = drnn.separate(audio, 44100)
    assert all(np.isfinite(stem).all() and stem.shape == audio.shape for stem in stems.values())
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1.2e-7)


def test_a_real_network_at_every_rate(drnn):
    for rate in RATES:
        audio = noise(2, rate // 3)
        stems = drnn.separate(audio, rate)
        np.testing.assert_allclose(sum(stems.values()), audio, atol=1.2e-7)
        assert -40 < decibels(stems["vocals"], audio) < 0


def test_progress_rises_to_the_end():
    calls = []
    separator = Separator(ConstantModel(1), segment_seconds=0.5, overlap_seconds=0.1)
    separator.separate(noise(1, 40_000), 16000, progress=lambda *call: calls.append(call))
    assert calls[-1] == (40_000, 40_000)
    assert len(calls) > 3
    assert all(a[0] < b[0] for a, b in pairwise(calls))


@pytest.mark.parametrize(
    ("audio", "rate", "reason"),
    [
        (np.zeros((2, 0)), 16000, "empty"),
        (np.zeros(9, np.int16), 16000, "integers"),
        (np.array([0, np.nan]), 16000, "NaN"),
        (np.zeros((2, 2, 2)), 16000, "shape"),
        (np.zeros((1000, 2)), 16000, "transposed"),
        (np.zeros(9), 4000, "sample rate"),
        (np.zeros(9), 0, "sample rate"),
        (np.zeros(9), 44100.5, "sample rate"),
    ],
)
def test_waveforms_that_are_not_valid_are_refused(audio, rate, reason):
    separator = Separator(ConstantModel(1))
    with pytest.raises(AudioError, match=reason):
        separator.separate(audio, rate)
    with pytest.raises(AudioError, match=reason):
        list(separator.stream([audio], rate))


@pytest.mark.parametrize(
    "options",
    [
        {"mask": "soft"}, {"griffin_lim_iterations": -1}, {"overlap_seconds": 0}, {"segment_seconds": 0},
        {"n_passes": 0}, {"n_passes": 10}, {"n_passes": 2, "mask": "binary"},
        {"segment_seconds": float("inf")}, {"segment_seconds": float("nan")}, {"segment_seconds": -1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Separator(ConstantModel(1), **options)


def test_settings_are_the_models_own_where_none_are_chosen():
    model = ConstantModel(1)
    assert Separator(model, n_threads=3).settings == SeparationSettings(
        segment_seconds=model.metadata.segment_seconds,
        overlap_seconds=model.metadata.overlap_seconds,
        n_threads=3,
    )
    short = Separator(model, segment_seconds=3).settings
    assert (short.segment_seconds, short.overlap_seconds) == (3, 1.5)


def test_a_missing_model_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="missing"):
        Separator(tmp_path / "missing.onnx")


def read(path):
    with AudioReader(path) as reader:
        return reader.info, np.concatenate(list(reader.blocks(1 << 20)), axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
@pytest.mark.parametrize("n_channels", first(1, 2, 1, 6))
def test_a_file_keeps_its_format_and_its_stems_sum_to_it(tmp_path, container, subtype, n_channels):
    audio = 0.8 * noise(n_channels, 12_345)
    song = write_song(tmp_path / "song", audio, sample_rate=22050, container=container, subtype=subtype)
    separator = Separator(TinyModel(), segment_seconds=0.2, overlap_seconds=0.05)
    done = separator.separate_file(song, tmp_path / "out")
    info, mixture = read(song)
    assert done.info == info
    assert done.n_clipped == 0
    for path in done.paths.values():
        assert read(path)[0] == info
    if info.bits is None:
        stems = [read(path)[1] for path in done.paths.values()]
        np.testing.assert_allclose(sum(stems), mixture, atol=1.2e-7)
    else:
        stems = [soundfile.read(path, dtype="int32")[0].astype(np.int64) for path in done.paths.values()]
        assert np.array_equal(sum(stems), soundfile.read(song, dtype="int32")[0])
        assert stems[0].any()
        assert stems[1].any()


def test_a_file_gives_the_same_stems_as_its_waveform(tmp_path):
    audio = noise(2, 50_000)
    song = write_song(tmp_path / "song.wav", audio, subtype="FLOAT")
    separator = Separator(TinyModel(), segment_seconds=1, overlap_seconds=0.2)
    done = separator.separate_file(song, tmp_path / "out")
    for name, stem in separator.separate(audio, 16000).items():
        assert np.array_equal(read(done.paths[name])[1], stem)


def test_a_clip_is_counted(tmp_path):
    song = write_song(tmp_path / "song.wav", np.full((1, 100), 1.5), subtype="FLOAT")
    assert (
        Separator(ConstantModel(0)).separate_file(song, tmp_path, FileOptions(bit_depth="16")).n_clipped
        == 100
    )


@pytest.mark.parametrize(("rate", "container"), [(44100, "MP3"), (44100, "OGG"), (48000, "OPUS")])
def test_lossy_songs_become_float_wav_and_stems_may_be_lossy(tmp_path, rate, container):
    subtype = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS", "OPUS": "OPUS"}[container]
    name = "OGG" if container == "OPUS" else container
    song = write_song(
        tmp_path / "song", 0.5 * noise(1, rate), sample_rate=rate, container=name, subtype=subtype
    )
    separator = Separator(ConstantModel(0.3))
    done = separator.separate_file(song, tmp_path / "out")
    assert {(read(p)[0].container, read(p)[0].subtype) for p in done.paths.values()} == {("WAV", "FLOAT")}
    lossy = separator.separate_file(song, tmp_path / "out", FileOptions(format=container.lower()))
    assert {read(path)[0].subtype for path in lossy.paths.values()} == {subtype}


def test_the_template_names_the_stems(tmp_path):
    song = write_song(tmp_path / "My song.flac", noise(1, 900))
    separator = Separator(ConstantModel(1))
    default = separator.separate_file(song, tmp_path / "out").paths
    assert default == {
        stem: tmp_path / "out" / "tiny" / "My song" / f"{stem}.flac" for stem in ("vocals", "accompaniment")
    }
    own = separator.separate_file(
        song, tmp_path, FileOptions(template="{stem}/{track}-{model}.{ext}", format="wav")
    )
    assert own.paths["vocals"] == tmp_path / "vocals" / "My song-tiny.wav"
    assert own.paths["vocals"].is_file()


@pytest.mark.parametrize(
    "template",
    [
        "{artist}/{stem}.wav", "{stem", "{}", "{0}", "{stem.x}",
        "{stem[a]}", "{track}.wav", "{stem}/../x.wav", "",
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused(tmp_path, template):
    song = write_song(tmp_path / "song.flac", noise(1, 900))
    with pytest.raises(ConfigError, match="template"):
        Separator(ConstantModel(1)).separate_file(song, tmp_path / "out", FileOptions(template=template))
    assert not (tmp_path / "out").exists()


class Failing(ConstantModel):
    """Fails on its sixth segment."""

    def masks(self, magnitude):
        if len(self.inputs) >= 5:  # two threads may come here at once
            raise ModelError("the network failed")
        return super().masks(magnitude)


@pytest.mark.parametrize("case", ["truncated song", "failing network"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(tmp_path, case, existing):
    song = write_song(tmp_path / "song.flac", noise(1, 400_000))
    network = Failing(1) if case == "failing network" else ConstantModel(1)
    if case == "truncated song":
        song.write_bytes(song.read_bytes()[:600_000])
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "vocals.flac").write_bytes(b"old vocals")
        (out / "accompaniment.flac").write_bytes(b"old accompaniment")
    separator = Separator(network, segment_seconds=2, overlap_seconds=0.5)
    with pytest.raises((AudioError, ModelError), match=r"truncated|failed"):
        separator.separate_file(song, out, FileOptions(template="{stem}.{ext}"))
    assert len(network.inputs) > 4
    if existing:
        found = {path.name: path.read_bytes() for path in out.iterdir()}
        assert found == {"vocals.flac": b"old vocals", "accompaniment.flac": b"old accompaniment"}
    else:
        assert not out.exists()


def test_a_network_of_another_transform(tmp_path):
    """A quarter hop and a Hann window at 44.1 kHz, for audio of 16 kHz."""

    class Other(ConstantModel):
        metadata = replace(METADATA, sample_rate=44100, n_fft=1024, hop_length=256, window="hann")

    audio = noise(2, 30_000)
    np.testing.assert_allclose(Separator(Other(1)).separate(audio, 16000)["vocals"], audio, atol=1e-6)


def test_threads_that_separate_first_at_the_same_time_load_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, both = [], threading.Barrier(2)

    def load() -> Separator:
        loaded.append(Separator(ConstantModel(0.5)))
        time.sleep(0.05)  # long enough for the other thread to come
        return loaded[-1]

    monkeypatch.setattr("duetto.separation.separator._default_separator", lru_cache(maxsize=1)(load))
    path = write_song(tmp_path / "song.wav", noise(1, 8000))

    def work(_: int) -> set[str]:
        both.wait()
        return set(separate(path))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, range(2))) == [{"vocals", "accompaniment"}] * 2
    assert len(loaded) == 1
