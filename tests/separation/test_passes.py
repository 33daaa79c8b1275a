"""Several passes: the network hears a song at other speeds as well, and the vocals are the mean."""

from pathlib import Path

import numpy as np
import pytest
from test_spectrogram_networks import RATE, Stub, constant, noise, tone

from duetto import Separator
from duetto.models.onnx_model import Bundle
from helpers.tiny import TinyEstimator, write_model


def test_the_network_hears_the_song_lower_and_higher() -> None:
    stub = Stub(constant(1), n_channels=1)
    Separator(stub, n_passes=5, n_threads=1).separate(tone(2000), RATE)
    heard = [np.argmax(np.abs(seen[0, 0]).sum(-1)) * 16000 / 1920 for seen in stub.seen]
    np.testing.assert_allclose(heard, [2000, 1900, 2100, 1800, 2200], atol=5)


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_what_depends_on_no_speed_stays_as_it_is(n_channels: int, rng: np.random.Generator) -> None:
    song = noise(rng, n_channels, seconds=3)
    separator = Separator(Stub(constant(0.25)), n_passes=3, segment_seconds=1, overlap_seconds=0.2)
    np.testing.assert_allclose(separator.separate(song, RATE)["vocals"], song / 4, atol=1e-5)


def test_the_vocals_are_the_mean_of_the_passes(rng: np.random.Generator) -> None:
    """A network that knows voices above 975 Hz alone finds a tone of 1000 Hz in one pass of two."""

    class Narrow(TinyEstimator):
        def masks(self, magnitude: np.ndarray) -> np.ndarray:
            hertz = np.arange(magnitude.shape[1])[:, None] * 16000 / 1024
            vocals = np.broadcast_to(hertz > 975, magnitude.shape).astype(np.float32)
            return np.stack([vocals, 1 - vocals], axis=1)

    song = tone(1000, 16000)
    level = [
        np.std(Separator(Narrow(), n_passes=n).separate(song, 16000)["vocals"][:, 8000:-8000]) / np.std(song)
        for n in (1, 2, 3, 5)
    ]
    np.testing.assert_allclose(level, [1, 1 / 2, 2 / 3, 3 / 5], atol=0.03)


def test_a_bundle_says_how_many_it_likes(tmp_path: Path) -> None:
    bundle = Bundle(write_model(tmp_path / "tiny.onnx", n_passes=3))
    assert Separator(bundle).settings.n_passes == 3
    assert Separator(bundle, n_passes=1).settings.n_passes == 1
    assert Separator(bundle, mask="binary").settings.n_passes == 1  # a mean of binary masks is none
    assert Separator(TinyEstimator()).settings.n_passes == 1


def test_several_passes_need_segments(rng: np.random.Generator) -> None:
    separator = Separator("drnn", n_passes=2)
    assert separator.latency_seconds(RATE) > 1 > Separator("drnn").latency_seconds(RATE)
    song = noise(rng, 1, seconds=1)
    (stems,) = separator.stream([song], RATE)
    np.testing.assert_array_equal(stems["vocals"], separator.separate(song, RATE)["vocals"])
