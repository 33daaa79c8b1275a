"""Models of complex spectrograms: their input from a song, and what becomes of their masks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto import Separator, si_sdr
from duetto.models.onnx_model import from_planes, to_planes
from helpers.signals import noise, tone
from helpers.tiny import SpectrogramModel

Spectrogram = NDArray[np.complex64]
RATE = 44100
NARROW = 16000
"""A rate at which nothing is above the band of the model."""


def test_the_middle_goes_to_the_voice_and_the_side_to_the_music() -> None:
    song = noise(2, 2 * RATE, amplitude=0.3)
    stems = Separator(SpectrogramModel(1, 0)).separate(song, RATE)
    below, middle = stems["vocals"], np.broadcast_to(song.mean(axis=0), song.shape)
    np.testing.assert_allclose(below, middle, atol=1e-5)
    np.testing.assert_allclose(stems["accompaniment"], song - middle, atol=1e-5)


def test_each_of_middle_and_side_has_its_mask() -> None:
    song = noise(2, 2 * RATE, amplitude=0.3)
    vocals = Separator(SpectrogramModel(0.5, 0.25)).separate(song, RATE)["vocals"]
    middle, side = (song[0] + song[1]) / 2, (song[0] - song[1]) / 2
    np.testing.assert_allclose(vocals, [middle / 2 + side / 4, middle / 2 - side / 4], atol=1e-5)


def test_cross_masks_cancel_an_instrument_at_the_left() -> None:
    """Of a voice in the centre and an instrument at the left, the mid less the side is the voice."""
    voice, instrument = noise(2, 2 * NARROW, amplitude=0.3)
    vocals = Separator(SpectrogramModel(1, 0, -1, 0)).separate(np.stack([voice + instrument, voice]), NARROW)[
        "vocals"
    ]
    np.testing.assert_allclose(vocals, [voice, voice], atol=1e-5)


def test_the_third_mask_is_of_the_side_in_the_mid_and_the_fourth_of_the_mid_in_the_side() -> None:
    song = noise(2, 2 * NARROW, amplitude=0.3)
    vocals = Separator(SpectrogramModel(0.5, 0.25, 0.1, -0.3)).separate(song, NARROW)["vocals"]
    mid, side = (song[0] + song[1]) / 2, (song[0] - song[1]) / 2
    new_mid, new_side = mid / 2 + side / 10, side / 4 - 0.3 * mid
    np.testing.assert_allclose(vocals, [new_mid + new_side, new_mid - new_side], atol=1e-5)
    binary = Separator(SpectrogramModel(0.5, 0.25, 0.1, -0.3), mask="binary").separate(song, NARROW)["vocals"]
    np.testing.assert_allclose(binary, [mid, mid], atol=1e-5)  # no cross masks


@pytest.mark.parametrize("channels", [[1, 0], [0, 1], [1, -1]])
def test_a_song_of_one_channel_has_no_cross_masks(channels: list[int]) -> None:
    song = noise(1, 2 * NARROW, amplitude=0.3) * np.float32(channels)[:, None]
    vocals = Separator(SpectrogramModel(0.25, 0.75, 0.5, 0.5)).separate(song, NARROW)["vocals"]
    np.testing.assert_allclose(vocals, song / 4, atol=1e-5)


@pytest.mark.parametrize(("n_channels", "song_channels"), [(1, 1), (1, 2), (1, 6), (2, 1), (2, 6)])
def test_one_mask_for_all_channels_where_there_is_no_side(n_channels: int, song_channels: int) -> None:
    song = noise(song_channels, 2 * RATE, amplitude=0.3)
    model = SpectrogramModel(*(0.25, 0.75)[:n_channels], n_channels=n_channels)
    vocals = Separator(model).separate(song, RATE)["vocals"]
    np.testing.assert_allclose(vocals, song / 4, atol=1e-5)
    for x in model.inputs:
        assert x.shape[:2] == (1, n_channels)
        assert x.shape[3] == 961
        assert not x[:, 1:].any()  # the side of anything but stereo is silence


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_the_input_is_the_same_at_every_sample_rate(rate: int) -> None:
    hertz = 1000.0
    model = SpectrogramModel(1, n_channels=1)
    Separator(model).separate(tone(hertz, 2, rate), rate)
    (x,) = model.inputs
    spectrum = np.abs(x[0, 0, 30])
    assert spectrum.argmax() == round(hertz / 16000 * 1920)
    assert spectrum.max() == pytest.approx(0.3 * 1920 / 4, rel=0.01)  # half the sum of a Hann window


def test_above_the_networks_band_the_mask_goes_on_as_its_top_is_loud() -> None:
    def turning(x: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """0.5 with any phase in the top eighth, 0 below it."""
        mask = np.zeros(x.shape, np.complex64)
        mask[..., -120:] = 0.5 * np.exp(1j * np.arange(120))
        return mask

    song = tone(12_000, 2)
    vocals = Separator(SpectrogramModel(turning, n_channels=1)).separate(song, RATE)["vocals"]
    np.testing.assert_allclose(
        vocals[:, RATE // 4 : -RATE // 4], song[:, RATE // 4 : -RATE // 4] / 2, atol=1e-3
    )


def test_a_binary_mask_gives_all_to_the_louder() -> None:
    """|m| >= |1 - m|, which is where the real part is 0.5 or more."""
    song = noise(1, 2 * RATE, amplitude=0.3)
    for value, expected in ((0.51 + 0.3j, 1), (0.49 - 2j, 0)):
        vocals = Separator(SpectrogramModel(value, n_channels=1), mask="binary").separate(song, RATE)[
            "vocals"
        ]
        np.testing.assert_allclose(vocals, expected * song, atol=1e-5)


def test_a_steady_tone_has_no_click_at_the_boundaries_of_segments() -> None:
    song = tone(440, 8)
    separator = Separator(SpectrogramModel(0.7, n_channels=1), segment_seconds=2, overlap_seconds=0.5)
    vocals = separator.separate(song, RATE)["vocals"]
    assert si_sdr(song, vocals) > 80
    np.testing.assert_allclose(vocals, 0.7 * song, atol=1e-5)


def test_planes_and_back(rng: np.random.Generator) -> None:
    spectrogram = (rng.standard_normal((2, 3, 5, 7)) + 1j * rng.standard_normal((2, 3, 5, 7))).astype(
        np.complex64
    )
    planes = to_planes(spectrogram)
    assert planes.shape == (2, 6, 5, 7)
    assert np.array_equal(planes[1, 4], spectrogram[1, 2].real)
    assert np.array_equal(planes[1, 5], spectrogram[1, 2].imag)
    assert np.array_equal(from_planes(planes), spectrogram)
