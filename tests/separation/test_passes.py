"""Test-time augmentation: a song is separated at other speeds as well, and the vocals are the mean."""

from pathlib import Path

import numpy as np
import pytest

from duetto import Separator
from duetto.models.onnx_model import OnnxModel
from helpers.signals import noise, tone
from helpers.tiny import SpectrogramModel, TinyModel, write_model

RATE = 44100


def test_the_model_gets_the_song_slower_and_faster() -> None:
    model = SpectrogramModel(1, n_channels=1)
    Separator(model, n_passes=5, n_threads=1).separate(tone(2000, 2), RATE)
    hertz = [np.argmax(np.abs(x[0, 0]).sum(0)) * 16000 / 1920 for x in model.inputs]
    np.testing.assert_allclose(hertz, [2000, 1900, 2100, 1800, 2200], atol=5)


@pytest.mark.slow
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_what_depends_on_no_speed_stays_as_it_is(n_channels: int) -> None:
    song = noise(n_channels, 3 * RATE, amplitude=0.3)
    separator = Separator(SpectrogramModel(0.25, 0.25), n_passes=3, segment_seconds=1, overlap_seconds=0.2)
    np.testing.assert_allclose(separator.separate(song, RATE)["vocals"], song / 4, atol=1e-5)


def test_the_vocals_are_the_mean_of_the_passes() -> None:
    """A network that knows voices above 975 Hz alone finds a tone of 1000 Hz in one pass of two."""

    class Narrow(TinyModel):
        def masks(self, magnitude: np.ndarray) -> np.ndarray:
            hertz = np.arange(magnitude.shape[2]) * 16000 / 1024
            vocals = np.broadcast_to(hertz > 975, magnitude.shape).astype(np.float32)
            return np.stack([vocals, 1 - vocals], axis=1)

    song = tone(1000, 2, 16000)
    level = [
        np.std(Separator(Narrow(), n_passes=n).separate(song, 16000)["vocals"][:, 8000:-8000]) / np.std(song)
        for n in (1, 2, 3, 5)
    ]
    np.testing.assert_allclose(level, [1, 1 / 2, 2 / 3, 3 / 5], atol=0.03)


def test_the_metadata_say_how_many_there_are_by_default(tmp_path: Path) -> None:
    model = OnnxModel(write_model(tmp_path / "tiny.onnx", n_passes=3))
    assert Separator(model).settings.n_passes == 3
    assert Separator(model, n_passes=1).settings.n_passes == 1
    assert Separator(model, mask="binary").settings.n_passes == 1  # a mean of binary masks is none
    assert Separator(TinyModel()).settings.n_passes == 1
