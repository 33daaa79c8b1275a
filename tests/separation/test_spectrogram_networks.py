"""Networks that see complex spectrograms: what they see of a song, and what becomes of their masks."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from duetto import Separator, si_sdr
from duetto.models.metadata import BundleMetadata
from duetto.models.onnx_model import from_planes, to_planes
from helpers.tiny import METADATA

Spectrogram = NDArray[np.complex64]
RATE = 44100


class Stub:
    """Masks by a rule; keeps what it has seen."""

    def __init__(self, rule: Callable[[Spectrogram], Spectrogram], n_channels: int = 2) -> None:
        self.rule = rule
        self.seen: list[Spectrogram] = []
        self.metadata: BundleMetadata = replace(
            METADATA, input="spectrogram", n_channels=n_channels, causal=False, n_fft=1920, hop_length=480,
            window="hann",
        )  # fmt: skip

    def masks(self, spectrogram: Spectrogram) -> Spectrogram:
        self.seen.append(spectrogram)
        return self.rule(spectrogram).astype(np.complex64)


def constant(*values: complex) -> Callable[[Spectrogram], Spectrogram]:
    """A value per channel that the network sees."""
    return lambda seen: np.broadcast_to(np.array(values)[:, None, None], seen.shape)


def noise(rng: np.random.Generator, n_channels: int, seconds: float = 2) -> NDArray[np.float32]:
    return rng.uniform(-0.3, 0.3, (n_channels, int(seconds * RATE))).astype(np.float32)


def tone(hertz: float, rate: int = RATE, seconds: float = 2) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)[None]


def test_the_middle_goes_to_the_voice_and_the_side_to_the_music(rng: np.random.Generator) -> None:
    song = noise(rng, 2)
    stems = Separator(Stub(constant(1, 0))).separate(song, RATE)
    below, middle = stems["vocals"], np.broadcast_to(song.mean(axis=0), song.shape)
    np.testing.assert_allclose(below, middle, atol=1e-5)
    np.testing.assert_allclose(stems["accompaniment"], song - middle, atol=1e-5)


def test_each_of_middle_and_side_has_its_mask(rng: np.random.Generator) -> None:
    song = noise(rng, 2)
    vocals = Separator(Stub(constant(0.5, 0.25))).separate(song, RATE)["vocals"]
    middle, side = (song[0] + song[1]) / 2, (song[0] - song[1]) / 2
    np.testing.assert_allclose(vocals, [middle / 2 + side / 4, middle / 2 - side / 4], atol=1e-5)


@pytest.mark.parametrize(("n_channels", "song_channels"), [(1, 1), (1, 2), (1, 6), (2, 1), (2, 6)])
def test_one_mask_for_all_channels_where_there_is_no_side(
    rng: np.random.Generator, n_channels: int, song_channels: int
) -> None:
    song = noise(rng, song_channels)
    stub = Stub(constant(*(0.25, 0.75)[:n_channels]), n_channels)
    vocals = Separator(stub).separate(song, RATE)["vocals"]
    np.testing.assert_allclose(vocals, song / 4, atol=1e-5)
    for seen in stub.seen:
        assert seen.shape[:3] == (1, n_channels, 961)
        assert not seen[:, 1:].any()  # the side of anything but stereo is silence


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_a_tone_looks_alike_at_every_sample_rate(rate: int) -> None:
    hertz = 1000.0
    stub = Stub(constant(1), 1)
    Separator(stub).separate(tone(hertz, rate), rate)
    (seen,) = stub.seen
    middle = np.abs(seen[0, 0, :, 30])
    assert middle.argmax() == round(hertz / 16000 * 1920)
    assert middle.max() == pytest.approx(0.3 * 1920 / 4, rel=0.01)  # half the sum of a Hann window


def test_above_the_networks_band_the_mask_goes_on_as_its_top_is_loud() -> None:
    def turning(seen: Spectrogram) -> Spectrogram:
        """0.5 with any phase in the top eighth, 0 below it."""
        mask = np.zeros(seen.shape, np.complex64)
        mask[:, :, -120:] = 0.5 * np.exp(1j * np.arange(120))[:, None]
        return mask

    song = tone(12_000)
    vocals = Separator(Stub(turning, 1)).separate(song, RATE)["vocals"]
    np.testing.assert_allclose(
        vocals[:, RATE // 4 : -RATE // 4], song[:, RATE // 4 : -RATE // 4] / 2, atol=1e-3
    )


def test_a_binary_mask_gives_all_to_the_louder(rng: np.random.Generator) -> None:
    """|m| >= |1 - m|, which is where the real part is 0.5 or more."""
    song = noise(rng, 1)
    for value, share in ((0.51 + 0.3j, 1), (0.49 - 2j, 0)):
        vocals = Separator(Stub(constant(value), 1), mask="binary").separate(song, RATE)["vocals"]
        np.testing.assert_allclose(vocals, share * song, atol=1e-5)


def test_a_steady_tone_passes_the_borders_of_segments_without_a_click() -> None:
    song = tone(440.0, seconds=8)
    separator = Separator(Stub(constant(0.7), 1), segment_seconds=2, overlap_seconds=0.5)
    vocals = separator.separate(song, RATE)["vocals"]
    assert si_sdr(song, vocals) > 80
    np.testing.assert_allclose(vocals, 0.7 * song, atol=1e-5)


def test_planes_and_back(rng: np.random.Generator) -> None:
    spectrogram = (rng.standard_normal((2, 3, 5, 7)) + 1j * rng.standard_normal((2, 3, 5, 7))).astype(
        np.complex64
    )
    planes = to_planes(spectrogram)
    assert planes.shape == (2, 6, 7, 5)
    assert np.array_equal(planes[1, 4], spectrogram[1, 2].real.T)
    assert np.array_equal(planes[1, 5], spectrogram[1, 2].imag.T)
    assert np.array_equal(from_planes(planes), spectrogram)
