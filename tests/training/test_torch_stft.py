"""The torch transform is the NumPy one, and gradients flow through it."""

import numpy as np
import pytest
import torch

from duetto.dsp.stft import STFT, Window
from duetto.training.torch_stft import magnitude, stft_forward, stft_inverse


@pytest.mark.parametrize("window", ["sine", "hann"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_samples"), [(1024, 512, 16000), (256, 100, 256), (62, 31, 777)]
)
def test_equals_the_numpy_transform(
    rng: np.random.Generator, window: Window, centred: bool, n_fft: int, hop_length: int, n_samples: int
) -> None:
    stft = STFT(n_fft=n_fft, hop_length=hop_length, window=window, centred=centred)
    waveform = rng.standard_normal((3, 2, n_samples)).astype(np.float32)
    expected = stft.forward(waveform).swapaxes(-1, -2)
    spectrogram = stft_forward(stft, torch.from_numpy(waveform)).numpy()
    assert spectrogram.shape == expected.shape == (3, 2, stft.n_bins, stft.n_frames(n_samples))
    assert np.abs(spectrogram - expected).max() < 1e-5 * np.abs(expected).max()
    found = magnitude(stft, torch.from_numpy(waveform)).numpy()
    assert np.abs(found - np.abs(expected)).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("window", ["sine", "hann"])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_samples"), [(1024, 512, 16000), (256, 100, 256), (62, 31, 777), (64, 16, 1)]
)
def test_the_inverse_is_numpys_and_gives_the_waveform_back(
    rng: np.random.Generator, window: Window, n_fft: int, hop_length: int, n_samples: int
) -> None:
    stft = STFT(n_fft=n_fft, hop_length=hop_length, window=window)
    waveform = rng.standard_normal((3, 2, n_samples)).astype(np.float32)
    spectrogram = stft_forward(stft, torch.from_numpy(waveform))
    found = stft_inverse(stft, spectrogram, n_samples).numpy()
    assert found.shape == waveform.shape
    assert np.abs(found - waveform).max() < 1e-5
    masked = (spectrogram * torch.rand(spectrogram.shape)).numpy()  # no waveform's spectrogram
    expected = stft.inverse(masked.swapaxes(-1, -2), n_samples)
    found = stft_inverse(stft, torch.from_numpy(masked), n_samples).numpy()
    assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_gradients_of_the_inverse_are_those_of_finite_differences(rng: np.random.Generator) -> None:
    stft = STFT(n_fft=16, hop_length=8, window="hann")
    pairs = torch.from_numpy(rng.standard_normal((2, 9, 4, 2))).float()
    weights = torch.from_numpy(rng.standard_normal((2, 20))).float()

    def loss(pairs: torch.Tensor) -> torch.Tensor:
        return (stft_inverse(stft, torch.view_as_complex(pairs), 20) * weights).sum()

    pairs.requires_grad_()
    loss(pairs).backward()
    direction = torch.from_numpy(rng.standard_normal(pairs.shape)).float()
    with torch.no_grad():  # it is linear
        assert float(loss(direction)) == pytest.approx(float((pairs.grad * direction).sum()), rel=1e-4)


@pytest.mark.parametrize("centred", [False, True])
def test_gradients_are_those_of_finite_differences(rng: np.random.Generator, centred: bool) -> None:
    stft = STFT(n_fft=16, hop_length=8, window="sine", centred=centred)
    waveform = torch.from_numpy(rng.standard_normal((2, 43))).requires_grad_()  # 64 bits, as differences need
    assert torch.autograd.gradcheck(lambda x: magnitude(stft, x), waveform)


def test_silence_has_a_finite_gradient() -> None:
    waveform = torch.zeros(1, 64, requires_grad=True)
    magnitude(STFT(n_fft=16, hop_length=8, window="hann"), waveform).sum().backward()
    assert torch.equal(waveform.grad, torch.zeros(1, 64))
