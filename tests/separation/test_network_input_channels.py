"""What models get of a song's channels: silent, inverted, or more than two."""

import numpy as np
import pytest

from duetto import Separator, load_audio
from duetto.cli.separate import EXAMPLE
from duetto.separation.frontend import Frontend, downmix
from helpers.signals import Waveform, decibels, noise, tone
from helpers.tiny import METADATA, ConstantModel, SpectrogramModel

RATE = 16_000


def in_half_of_the_mixture(spectrogram):
    """Masks that differ from bin to bin, and between mid and side."""
    n_channels, _, n_bins = spectrogram.shape[1:]
    return np.linspace(0.1, 0.9, n_channels * n_bins).reshape(n_channels, 1, n_bins)


@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_channel_stays_silent_in_both_stems(silent: int) -> None:
    song = noise(2, RATE, amplitude=0.3)
    song[silent] = 0
    for model in (SpectrogramModel(in_half_of_the_mixture), ConstantModel(0.3)):
        stems = Separator(model).separate(song, RATE)
        for stem in stems.values():
            assert not stem[silent].any()
            assert stem[1 - silent].any()


@pytest.mark.parametrize(
    "song", ["left alone", "right alone", "right inverted", "right inverted and quieter by 80 dB"]
)
@pytest.mark.parametrize("model", [SpectrogramModel, ConstantModel])
def test_one_channel_is_separated_as_a_mono_song(song: str, model: type) -> None:
    voice = noise(1, RATE, amplitude=0.3)[0]
    right = {"left alone": 0, "right alone": 1, "right inverted": -1}.get(song, -1e-4)
    stereo = np.stack([0 * voice if song == "right alone" else voice, np.float32(right) * voice])
    mono, given = model(0.3), model(0.3)
    expected = Separator(mono).separate(voice, RATE)["vocals"]
    vocals = Separator(given).separate(stereo, RATE)["vocals"]
    np.testing.assert_allclose(np.abs(given.inputs[0]), np.abs(mono.inputs[0]), rtol=2e-4, atol=1e-4)
    for channel, gain in zip(vocals, stereo @ voice / (voice @ voice), strict=True):
        np.testing.assert_allclose(channel, gain * expected, atol=1e-5)


def test_frames_of_two_channels_stay_as_they_are() -> None:
    """Also where one is quieter by 40 dB, and where one frame in two is of one channel."""
    frontend = Frontend(metadata=METADATA, sample_rate=RATE, mask="ratio")
    mid, side = frontend.stft.forward(noise(2, RATE))
    np.testing.assert_array_equal(downmix(np.stack([mid, 0.98 * mid])), [mid, 0.98 * mid])
    side[::2] = mid[::2]
    found = downmix(np.stack([mid, side]))
    np.testing.assert_array_equal(found[:, 1::2], np.stack([mid, side])[:, 1::2])
    np.testing.assert_allclose(found[:, ::2], [2 * mid[::2], 0 * mid[::2]])


@pytest.mark.parametrize("n_channels", [3, 6, 8])
def test_a_voice_in_one_or_two_of_many_channels_keeps_its_level(n_channels: int) -> None:
    voice, music = tone(440, sample_rate=RATE), tone(2000, sample_rate=RATE, amplitude=0.1)
    mono = ConstantModel(0.3)
    Separator(mono).separate(voice + music, RATE)
    for places in ([2], [0, 1]):
        song = np.zeros((n_channels, RATE), np.float32)
        song[0] = music
        song[places] += voice
        given = ConstantModel(0.3)
        Separator(given).separate(song, RATE)
        bins = round(440 / RATE * METADATA.n_fft)
        level = given.inputs[0][0, 10, bins] / mono.inputs[0][0, 10, bins]
        assert level == pytest.approx(len(places), rel=0.01)


@pytest.fixture(scope="module")
def separator() -> Separator:
    return Separator()


@pytest.fixture(scope="module")
def example(separator: Separator) -> tuple[Waveform, Waveform]:
    """Five seconds of the vocals and of the accompaniment of the example, as the default model finds them."""
    audio, rate = load_audio(EXAMPLE)
    assert rate == 44_100
    stems = separator.separate(audio[:, : 5 * rate], rate)
    return stems["vocals"], stems["accompaniment"]


@pytest.mark.slow
def test_the_default_model_finds_a_voice_in_the_centre_of_5_1(
    separator: Separator, example: tuple[Waveform, Waveform]
) -> None:
    vocals, accompaniment = example
    song = np.zeros((6, vocals.shape[1]), np.float32)
    song[:2], song[2] = accompaniment, vocals[0]
    found = separator.separate(song, 44_100)["vocals"]
    assert abs(decibels(found[2], vocals[0])) < 2


def test_the_default_model_finds_a_voice_whose_right_channel_is_inverted(
    separator: Separator, example: tuple[Waveform, Waveform]
) -> None:
    left = (example[0] + example[1])[0]
    expected = separator.separate(left, 44_100)["vocals"]
    found = separator.separate(np.stack([left, -left]), 44_100)["vocals"]
    np.testing.assert_allclose(found, [expected, -expected], atol=1e-4)
