"""Pictures of songs and of scores (matplotlib)."""

import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from duetto.stft import STFT

DYNAMIC_RANGE_DB = 80.0
N_COLUMNS = 2000  # more than a picture has pixels; a long song is thinned to so many frames


def plot_spectrograms(
    waveforms: Mapping[str, NDArray[np.float32]],
    sample_rate: int,
    path: str | os.PathLike[str],
    *,
    max_frequency: float = 8000.0,
) -> Path:
    """Draw the log-spectrograms of a song and its stems, one under the other.

    Args:
        waveforms: title -> waveform (n_channels, n_samples); channels are averaged in power.
        sample_rate: hertz.
        path: of the picture; its extension says which kind, such as .png, .pdf or .svg.
        max_frequency: top of the picture, hertz.

    Returns:
        The path.
    """
    n_samples = next(iter(waveforms.values())).shape[-1]
    n_fft = 2 * round(0.032 * sample_rate)
    hop_length = min(max(n_fft // 4, n_samples // N_COLUMNS), n_fft // 2)
    stft = STFT(n_fft=n_fft, hop_length=hop_length, window="hann")
    pictures = {}
    for title, waveform in waveforms.items():
        power = (np.abs(stft.forward(waveform)) ** 2).mean(axis=0)
        thin = max(1, power.shape[1] // N_COLUMNS)
        pictures[title] = 10 * np.log10(power[:, ::thin] + 1e-10)
    top = max(picture.max() for picture in pictures.values())
    with mpl.rc_context({"svg.hashsalt": "duetto"}):  # the same song gives the same bytes
        figure = Figure(figsize=(11, 2.6 * len(pictures)), layout="constrained")
        axes = figure.subplots(len(pictures), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
            image = axis.imshow(
                picture,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=top - DYNAMIC_RANGE_DB,
                vmax=top,
                extent=(0, n_samples / sample_rate, 0, sample_rate / 2000),
            )
            axis.set(title=title, ylabel="kHz", ylim=(0, min(max_frequency, sample_rate / 2) / 1000))
        axes[-1].set_xlabel("seconds")
        figure.colorbar(image, ax=list(axes), label="dB")
        path = Path(path)
        figure.savefig(path, dpi=110)
    return path
