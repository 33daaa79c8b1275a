import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import ShortTimeFFT

from duetto.dsp.stft import STFT

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000)
PAPERS = STFT(n_fft=1024, hop_length=512, window="sine", centred=False)


@st.composite
def transforms(draw, centred=None):
    half = draw(st.integers(1, 150))
    return STFT(
        n_fft=2 * half,
        hop_length=draw(st.integers(1, half)),
        window=draw(st.sampled_from(["sine", "hann"])),
        centred=draw(st.booleans()) if centred is None else centred,
    )


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def naive(stft, waveform):
    """The definition, in loops and double precision."""
    n, hop = stft.n_fft, stft.hop_length
    window = np.sin(np.pi * np.arange(n) / n) ** (1 if stft.window == "sine" else 2)
    padded = (
        np.concatenate([np.zeros(n // 2), waveform, np.zeros(n // 2 + hop)]) if stft.centred else waveform
    )
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(n // 2 + 1), np.arange(n)) / n)
    frames = [padded[k * hop : k * hop + n] for k in range(stft.n_frames(len(waveform)))]
    return np.array([kernel @ (frame * window) for frame in frames]).reshape(-1, stft.n_bins)


@given(transforms(), st.integers(1, 500))
def test_forward_is_the_definition(stft, n_samples):
    waveform = noise(n_samples)
    np.testing.assert_allclose(stft.forward(waveform), naive(stft, waveform), atol=4e-6 * stft.n_fft**0.5)


@pytest.mark.parametrize("hop_length", [100, 128, 511, 512])
def test_forward_agrees_with_scipy(hop_length):
    stft = STFT(n_fft=1024, hop_length=hop_length, window="hann")
    waveform = noise(20_000)
    theirs = ShortTimeFFT(stft.window_values.astype(float), hop_length, 1, phase_shift=None).stft(waveform).T
    ours = stft.forward(waveform)
    n_frames = min(len(ours), len(theirs) - 1)  # scipy begins one frame earlier
    start = -ShortTimeFFT(stft.window_values.astype(float), hop_length, 1).p_min
    np.testing.assert_allclose(ours[: n_frames - start], theirs[start:n_frames], atol=1e-4)


@given(transforms(centred=True), st.integers(1, 700), st.sampled_from([(), (1,), (2,), (2, 3)]))
def test_the_inverse_returns_every_sample(stft, n_samples, leading):
    waveform = noise((*leading, n_samples))
    restored = stft.inverse(stft.forward(waveform), n_samples)
    assert restored.shape == waveform.shape
    np.testing.assert_allclose(restored, waveform, atol=2e-6)  # of up to 220 frames over one another


@pytest.mark.parametrize("window", ["sine", "hann"])
@pytest.mark.parametrize("n_fft", [512, 1024, 2822, 3072, 12288])
@pytest.mark.parametrize("n_samples", [1, 511, 1411, 4095, 65_535])
def test_the_very_last_sample_comes_back_at_real_sizes(window, n_fft, n_samples):
    """The last centre lay before the end, where a Hann window is so small that the sample was lost."""
    stft = STFT(n_fft=n_fft, hop_length=n_fft // 2, window=window)
    waveform = noise(n_samples)
    np.testing.assert_allclose(stft.inverse(stft.forward(waveform), n_samples), waveform, atol=1e-6)


@given(transforms(centred=False), st.integers(1, 700))
def test_uncentred_frames_return_all_but_the_edges(stft, n_samples):
    waveform = noise(n_samples)
    restored = stft.inverse(stft.forward(waveform), n_samples)
    n_frames = stft.n_frames(n_samples)
    end = (n_frames - 1) * stft.hop_length + stft.n_fft if n_frames else 0
    assert restored.shape == waveform.shape
    assert np.all(restored[end:] == 0)  # the dropped tail
    assert restored[0] == 0
    weight = np.zeros(max(end, n_samples))
    for k in range(n_frames):
        weight[k * stft.hop_length :][: stft.n_fft] += stft.window_values**2
    sure = weight[:n_samples] > 1e-3
    np.testing.assert_allclose(restored[sure], waveform[sure], atol=1e-5)


def test_the_papers_framing_drops_the_tail_that_fills_no_frame():
    assert [PAPERS.n_frames(n) for n in (1, 1023, 1024, 1535, 1536, 2048)] == [0, 0, 1, 1, 2, 3]
    assert PAPERS.forward(noise(1535)).shape == (1, 513)
    assert np.array_equal(PAPERS.forward(noise(1535)), PAPERS.forward(noise(1535)[:1024]))
    restored = PAPERS.inverse(PAPERS.forward(noise(1535)), 1535)
    assert restored[0] == 0
    assert np.all(restored[1024:] == 0)
    assert np.array_equal(PAPERS.inverse(PAPERS.forward(noise(5)), 5), np.zeros(5))


def test_centred_frames_are_one_more_than_whole_hops():
    stft = STFT(n_fft=1024, hop_length=512, window="sine")
    assert [stft.n_frames(n) for n in (1, 511, 512, 513, 1024)] == [2, 2, 2, 3, 3]


def test_the_sine_window_is_that_of_the_papers_and_its_square_is_hann():
    sine = STFT(n_fft=1024, hop_length=512, window="sine").window_values
    hann = STFT(n_fft=1024, hop_length=512, window="hann").window_values
    np.testing.assert_allclose(sine, np.sin(np.pi * np.arange(1024) / 1024), atol=1e-7)
    np.testing.assert_allclose(sine.astype(float) ** 2, hann, atol=1e-7)


@given(transforms())
def test_single_precision_stays_and_inputs_stay_unmodified(stft):
    waveform = noise((2, 900)) * 20
    before = waveform.copy()
    spectrogram = stft.forward(waveform)
    held = spectrogram.copy()
    assert spectrogram.dtype == np.complex64
    assert stft.inverse(spectrogram, 900).dtype == np.float32
    assert np.array_equal(waveform, before)
    assert np.array_equal(spectrogram, held)


def test_doubles_are_accepted_and_come_back_single():
    spectrogram = PAPERS.forward(noise(4000).astype(np.float64))
    assert spectrogram.dtype == np.complex64


def test_a_read_only_waveform_is_accepted():
    waveform = noise(4000)
    waveform.flags.writeable = False
    assert PAPERS.forward(waveform).shape == (6, 513)


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "hop_length"),
    [(44100, 2822, 1411), (48000, 3072, 1536), (8000, 512, 256), (16000, 1024, 512), (22050, 1412, 706)],
)
def test_resampled_takes_the_nearest_even_size(sample_rate, n_fft, hop_length):
    new = STFT(n_fft=1024, hop_length=512, window="sine").resampled(16000, sample_rate)
    assert (new.n_fft, new.hop_length, new.window, new.centred) == (n_fft, hop_length, "sine", True)


@given(transforms(), st.integers(8000, 192000), st.integers(8000, 192000))
def test_resampled_keeps_hertz_and_milliseconds(stft, old, new):
    if stft.n_fft * new / old < 2 or stft.hop_length * new / old < 1:
        return
    other = stft.resampled(old, new)
    assert abs(other.n_fft - stft.n_fft * new / old) <= 1
    assert abs(other.hop_length - stft.hop_length * new / old) <= 1.5


@pytest.mark.parametrize("sample_rate", RATES)
def test_a_sine_lands_in_the_same_bin_with_the_same_scaled_magnitude_at_every_rate(sample_rate):
    own = STFT(n_fft=1024, hop_length=512, window="sine")
    stft = own.resampled(16000, sample_rate)
    time = np.arange(sample_rate) / sample_rate
    sine = np.sin(2 * np.pi * 1000 * time).astype(np.float32)  # the centre of bin 64 at 16 kHz
    scale = own.window_values.sum() / stft.window_values.sum()
    magnitude = np.abs(stft.forward(sine))[5:-5] * scale
    assert np.all(magnitude.argmax(axis=1) == 64)
    expected = own.window_values.sum() / 2
    assert magnitude[:, 64].mean() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "window"),
    [(1023, 256, "sine"), (0, 1, "sine"), (1024, 513, "sine"), (1024, 0, "sine"), (1024, 512, "boxcar")],
)
def test_settings_without_an_inverse_are_refused(n_fft, hop_length, window):
    with pytest.raises(ValueError, match=r"n_fft=|window="):
        STFT(n_fft=n_fft, hop_length=hop_length, window=window)
