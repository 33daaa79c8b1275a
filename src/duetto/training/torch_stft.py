"""`duetto.dsp.stft` in torch, for gradients; a test compares the two."""

import torch
from torch import Tensor
from torch.nn import functional as F

from duetto.dsp.stft import STFT


def stft_forward(stft: STFT, waveform: Tensor) -> Tensor:
    """Waveform (..., n_samples) to complex spectrogram (..., n_bins, n_frames).

    It is that of `STFT.forward`, with bins before frames as networks in torch have them.
    """
    if stft.centred:
        before = stft.n_fft // 2
        waveform = F.pad(waveform, (before, before + -waveform.shape[-1] % stft.hop_length))
    spectrogram = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        stft.n_fft,
        stft.hop_length,
        window=torch.from_numpy(stft.window_values).to(waveform),
        center=False,
        return_complex=True,
    )
    return spectrogram.reshape(*waveform.shape[:-1], *spectrogram.shape[-2:])


def magnitude(stft: STFT, waveform: Tensor) -> Tensor:
    """Magnitude spectrogram (..., n_bins, n_frames) of a waveform (..., n_samples)."""
    return stft_forward(stft, waveform).abs()


def stft_inverse(stft: STFT, spectrogram: Tensor, n_samples: int) -> Tensor:
    """Spectrogram (..., n_bins, n_frames) of a centred transform to waveform (..., n_samples)."""
    waveform = torch.istft(
        spectrogram.reshape(-1, *spectrogram.shape[-2:]),
        stft.n_fft,
        stft.hop_length,
        window=torch.from_numpy(stft.window_values).to(spectrogram.device),
        length=n_samples,
    )
    return waveform.reshape(*spectrogram.shape[:-2], n_samples)
