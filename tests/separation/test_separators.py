"""The contract of everything that separates a song: models, conventional methods and oracles.

A method or an oracle that is new in its register is tested here without another line.
"""

import numpy as np
import pytest

from duetto import Separator
from duetto.evaluation.evaluator import find_system
from duetto.evaluation.oracles import ORACLES
from duetto.evaluation.tracks import TrackAudio
from duetto.models.baselines import METHODS
from helpers.quick import first
from helpers.tiny import write_model

SOFTER = 1e-3


@pytest.fixture(params=["tiny", *METHODS, *ORACLES])
def name(request):
    return request.param


@pytest.fixture
def separate(name, tmp_path):
    """Track audio to stems, as `duetto evaluate` finds it."""
    model = write_model(tmp_path / "tiny.onnx") if name == "tiny" else name
    found, separate = find_system(model)
    assert found == name
    return separate


def track(rng, *, seconds=1.0, sample_rate=16_000, n_channels=1, n_samples=None):
    """A gliding voice over a chord and clicks, with some noise."""
    n_samples = n_samples or round(seconds * sample_rate)
    time = np.arange(n_samples) / sample_rate
    voice = 0.2 * np.sin(2 * np.pi * (300 * time + 20 * np.sin(5 * time)))
    chord = 0.1 * sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330))
    clicks = 0.3 * (np.arange(n_samples) % (sample_rate // 4) == 0)
    noise = 0.01 * rng.standard_normal((2, n_channels, n_samples))
    sources = {"vocals": voice + noise[0], "accompaniment": chord + clicks + noise[1]}
    return TrackAudio({name: source.astype(np.float32) for name, source in sources.items()}, sample_rate)


def check(stems, audio):
    assert set(stems) == {"vocals", "accompaniment"}
    for stem in stems.values():
        assert stem.dtype == np.float32
        assert stem.shape == audio.mixture.shape
        assert np.isfinite(stem).all()
    np.testing.assert_allclose(sum(stems.values()), audio.mixture, atol=1.2e-7)


@pytest.mark.parametrize("sample_rate", first(1, 44_100, 8000, 22050, 192_000))
def test_length_and_channels_are_kept_and_stems_sum_to_the_mixture(separate, sample_rate, rng):
    audio = track(rng, seconds=0.7, sample_rate=sample_rate, n_channels=2)
    before = audio.mixture.copy()
    stems = separate(audio)
    check(stems, audio)
    assert np.array_equal(audio.mixture, before)
    assert all(np.linalg.norm(stem) > 1e-3 * np.linalg.norm(before) for stem in stems.values())


@pytest.mark.parametrize("n_samples", [1, 200, 1024])
def test_a_song_as_short_as_a_sample_or_a_frame(separate, n_samples, rng):
    audio = track(rng, n_samples=n_samples)
    check(separate(audio), audio)


def test_silence_stays_silence(separate):
    silence = np.zeros((2, 9000), np.float32)
    stems = separate(TrackAudio({"vocals": silence, "accompaniment": silence}, 44_100))
    assert not any(stem.any() for stem in stems.values())


def test_silence_at_the_start_and_in_one_channel(separate, rng):
    audio = track(rng, n_channels=2)
    for source in audio.sources.values():
        source[0] = source[1, :8000] = 0
    check(separate(audio), audio)


def test_the_same_song_gives_the_same_bytes(separate, rng):
    audio = track(rng)
    first, second = (separate(audio)["vocals"].tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "name", [*METHODS, *ORACLES], indirect=True
)  # the tiny model's mask is |X| / (|X| + 1)
def test_a_softer_song_has_softer_stems(separate, rng):
    loud = track(rng)
    soft = TrackAudio({source: SOFTER * samples for source, samples in loud.sources.items()}, 16_000)
    error = separate(soft)["vocals"] / SOFTER - separate(loud)["vocals"]
    assert np.abs(error).max() < 1e-3 * np.abs(loud.mixture).max()


@pytest.mark.parametrize("model", METHODS)
def test_a_song_of_many_segments(model, rng):
    audio = track(rng, seconds=1.5)
    separator = Separator(model, segment_seconds=0.5, overlap_seconds=0.15)
    check(separator.separate(audio.mixture, audio.sample_rate), audio)
