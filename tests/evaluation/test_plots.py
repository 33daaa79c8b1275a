from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from duetto.audio import load_audio
from duetto.errors import ConfigError
from duetto.evaluation.plots import plot_learning_curves, plot_spectrograms, plot_spread
from duetto.separation.separator import Separator
from helpers.quick import first
from helpers.tiny import TinyModel

SAMPLE_RATE = 16000
MAGMA_TOP, MAGMA_BOTTOM = (0.987, 0.991, 0.750), (0.001, 0.000, 0.014)


def sine(frequency: float, seconds: float = 1.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)[None]


def test_a_sine_is_one_bright_line_at_its_frequency(tmp_path: Path) -> None:
    path = plot_spectrograms({"a sine": sine(2000)}, SAMPLE_RATE, tmp_path / "sine.png")
    picture = imread(path)
    # the one panel fills the width up to the colour bar; look at a column in its middle
    column = picture[:, picture.shape[1] // 3, :3]
    dark = np.flatnonzero(column.max(axis=-1) < 0.05)
    top, bottom = dark.min(), dark.max()
    brightest = top + np.argmax(column[top:bottom].sum(axis=-1))
    assert (bottom - brightest) / (bottom - top) == pytest.approx(2000 / 8000, abs=0.02)
    np.testing.assert_allclose(
        column[brightest], MAGMA_TOP, atol=0.2
    )  # a line thinner than a pixel is blended with its surroundings


@pytest.mark.slow
def test_all_pictures_share_one_scale(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.3, (1, SAMPLE_RATE)).astype(np.float32)
    path = plot_spectrograms({"40 dB below": 0.01 * noise, "noise": noise}, SAMPLE_RATE, tmp_path / "a.png")
    picture = imread(path)
    height, width = picture.shape[:2]
    upper, lower = (
        picture[int(at * height) - 40 : int(at * height) + 40, 200 : width // 2, :3].mean()
        for at in (0.25, 0.75)
    )
    assert upper < 0.6 * lower


def test_silence_is_black(tmp_path: Path) -> None:
    path = plot_spectrograms({"silence": np.zeros((2, 8000), np.float32)}, SAMPLE_RATE, tmp_path / "s.png")
    picture = imread(path)
    centre = picture[picture.shape[0] // 2, 100 : picture.shape[1] // 2, :3]
    np.testing.assert_allclose(centre, np.broadcast_to(MAGMA_BOTTOM, centre.shape), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_same_song_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    paths = [plot_spectrograms({"a": sine(440)}, SAMPLE_RATE, tmp_path / f"{name}.{kind}") for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("form", first(1, (1, 44100, 1), (500, 8000, 8), (192000, 192000, 2)))
def test_any_waveform_is_drawn(tmp_path: Path, form: tuple[int, int, int]) -> None:
    n_samples, rate, n_channels = form
    waveform = np.repeat(sine(440, n_samples / rate, rate), n_channels, axis=0)
    path = plot_spectrograms({"a": waveform}, rate, tmp_path / "a.png", max_frequency=200_000)
    assert imread(path).shape[2] == 4


@pytest.mark.slow
def test_a_long_song_is_thinned(tmp_path: Path) -> None:
    """Minutes take no more pixels, and no more than a few seconds."""
    waveform = np.random.default_rng(1).normal(0, 0.1, (1, 200 * 8000)).astype(np.float32)
    path = plot_spectrograms({"a": waveform}, 8000, tmp_path / "long.png")
    assert imread(path).shape[1] == 1210


def test_an_extension_of_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"song\.wav: unknown format of a figure; allowed: .*\.png"):
        plot_spectrograms({"a": sine(440)}, SAMPLE_RATE, tmp_path / "song.wav")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match=r"a\.png"):
        plot_spectrograms({"a": sine(440)}, SAMPLE_RATE, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
def test_the_song_is_drawn_above_its_stems(tmp_path: Path) -> None:
    song = Path(__file__).parents[2] / "src" / "duetto" / "audio" / "example.flac"
    audio, sample_rate = load_audio(song)
    audio = audio[:, : 2 * sample_rate]
    stems = Separator(TinyModel()).separate(audio, sample_rate)
    svg = plot_spectrograms({"mixture": audio, **stems}, sample_rate, tmp_path / "song.svg").read_text()
    assert svg.count("<image") == 4  # three spectrograms and the colour bar
    for title in ("mixture", "vocals", "accompaniment", "seconds", "kHz"):
        assert f"<!-- {title} -->" in svg


def test_a_spread_shows_every_track_and_the_median_of_its_singer(tmp_path: Path) -> None:
    scores = {
        "a DNN": {"amy": [1.0, 2.0, 9.0], "Ani": [3.0, 4.0]},
        "an RNN": {"amy": [2.0, 3.0, 4.0], "Ani": [float("-inf"), 4.0]},
    }
    svg = plot_spread(scores, tmp_path / "spread.svg", label="NSDR, dB").read_text()
    for text in ("a DNN", "an RNN", "amy", "Ani", "NSDR, dB; bars are medians"):
        assert f"<!-- {text} -->" in svg
    assert svg.count('id="PathCollection') == 4  # a strip for each system and singer


@pytest.mark.slow
def test_learning_curves_name_their_runs_and_draw_negative_losses(tmp_path: Path) -> None:
    steps = list(range(1, 301))
    picture = {}
    for sign in (1, -1):  # with discrimination a loss may fall below 0
        losses = steps, [sign * 1000.0] * 150 + [sign * 2000.0] * 150
        runs = {name: (losses, ([100, 200, 300], [1.0, 2.0, 3.0])) for name in ("a DNN", "an RNN")}
        picture[sign] = plot_learning_curves(runs, tmp_path / f"{sign}.svg", label="% done").read_text()
        for text in ("a DNN", "an RNN", "loss", "% done"):
            assert f"<!-- {text} -->" in picture[sign]
    assert "-10^{3}" in picture[-1]  # the loss axis reaches below 0
    assert "-10^{3}" not in picture[1]


def test_pictures_of_scores_are_refused_like_those_of_songs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format of a figure"):
        plot_spread({"a": {"b": [1.0]}}, tmp_path / "a.txt", label="dB")
    with pytest.raises(ConfigError, match="unknown format of a figure"):
        plot_learning_curves({}, tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())
