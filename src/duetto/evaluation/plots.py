"""Plots of songs, scores and training runs (matplotlib)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from duetto.audio.atomic import replacing
from duetto.dsp.stft import STFT
from duetto.errors import ConfigError

DYNAMIC_RANGE_DB = 80.0
QUIETEST_TOP_DB = -30.0  # so that silence is black
Curve = tuple[Sequence[float], Sequence[float]]
N_COLUMNS = 2000  # more than a figure has pixels; longer songs are decimated to this number of frames


def plot_spectrograms(
    waveforms: Mapping[str, NDArray[np.float32]],
    sample_rate: int,
    path: str | os.PathLike[str],
    *,
    max_frequency: float = 8000.0,
) -> Path:
    """Plot the log-spectrograms of a song and its stems below each other, on a common scale.

    Frames of 64 ms resolve the partials of a voice. 0 dB is a full-scale sine.

    Args:
        waveforms: title -> waveform (n_channels, n_samples); channels are averaged in power.
        sample_rate: hertz.
        path: of the figure; its suffix is the format, such as .png, .pdf or .svg.
        max_frequency: upper end of the frequency axis, in hertz.

    Returns:
        The path.

    Raises:
        ConfigError: a suffix that is not a format of figures.
        OSError: the file cannot be written.
    """
    path = Path(path)
    kind = _kind(path)
    panels = {title: _decibels(waveform, sample_rate) for title, waveform in waveforms.items()}
    top = max(QUIETEST_TOP_DB, *(panel.max() for panel in panels.values()))
    seconds = next(iter(waveforms.values())).shape[-1] / sample_rate
    figure = Figure(figsize=(11, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(
            panel,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top - DYNAMIC_RANGE_DB,
            vmax=top,
            extent=(0, seconds, 0, sample_rate / 2000),
        )
        axis.set_title(title, loc="left")
        axis.set(ylabel="kHz", ylim=(0, min(max_frequency, sample_rate / 2) / 1000))
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(axes), label="dBFS of a sine", aspect=40)
    _save(figure, path, kind)
    return path


def plot_spread(
    scores: Mapping[str, Mapping[str, Sequence[float]]], path: str | os.PathLike[str], *, label: str
) -> Path:
    """Plot the distribution of scores: a line for each system with a strip of points for each group.

    Args:
        scores: system -> group, such as a singer -> scores of its tracks. All systems have the same groups.
        path: of the figure, as for `plot_spectrograms`.
        label: of the axis of scores.

    Returns:
        The path.

    Raises:
        ConfigError: a suffix that is not a format of figures.
        OSError: the file cannot be written.
    """
    path = Path(path)
    kind = _kind(path)
    groups = list(next(iter(scores.values())))
    figure = Figure(figsize=(11, 1.5 + 0.55 * len(scores)), layout="constrained")
    axis = figure.subplots()
    palette = mpl.colormaps["tab10" if len(groups) <= 10 else "tab20"]
    for place, group in enumerate(groups):
        colour, offset = palette(place % palette.N), 0.7 * ((place + 0.5) / len(groups) - 0.5)
        for line, by_group in enumerate(scores.values()):
            values = by_group[group]
            axis.scatter(values, [line + offset] * len(values), s=5, alpha=0.35, color=colour, linewidths=0)
            name = group if line == 0 else None
            axis.plot(np.median(values), line + offset, "|", ms=9, mew=2.5, color=colour, label=name)
    axis.set(yticks=range(len(scores)), yticklabels=list(scores), xlabel=f"{label}; bars are medians")
    axis.set_ylim(len(scores) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    if len(groups) > 1:
        figure.legend(loc="outside right upper")
    _save(figure, path, kind)
    return path


def plot_learning_curves(
    runs: Mapping[str, tuple[Curve, Curve]], path: str | os.PathLike[str], *, label: str = "step"
) -> Path:
    """Plot the loss and the validation score of training runs over their steps.

    Args:
        runs: name -> (steps, loss), (steps, validation GNSDR in dB). Each point of a loss is the mean of a
            thirtieth of the run. A loss with discrimination may be negative, so its scale is linear near 0.
        path: of the figure, as for `plot_spectrograms`.
        label: of the axis of steps.

    Returns:
        The path.

    Raises:
        ConfigError: a suffix that is not a format of figures.
        OSError: the file cannot be written.
    """
    path = Path(path)
    kind = _kind(path)
    figure = Figure(figsize=(11, 4 + 0.2 * len(runs)), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, (losses, scores)) in enumerate(runs.items()):
        style = {"color": f"C{place % 10}", "ls": ("-", "--", ":")[place // 10 % 3]}
        left.plot(*(_thinned(values) for values in losses), **style)
        right.plot(*scores, marker=".", label=name, **style)
    left.set_yscale("symlog", linthresh=100)
    left.set(title="loss", xlabel=label)
    right.set(title="validation GNSDR of the vocals, dB", xlabel=label)
    figure.legend(loc="outside lower center", ncols=3)
    _save(figure, path, kind)
    return path


def _thinned(values: Sequence[float]) -> NDArray[np.float64]:
    """Means of at most 30 equal parts."""
    return np.array([part.mean() for part in np.array_split(np.asarray(values, float), min(30, len(values)))])


def _kind(path: Path) -> str:
    kinds = Figure().canvas.get_supported_filetypes()
    kind = path.suffix.removeprefix(".").lower()
    if kind not in kinds:
        raise ConfigError(f"{path}: unknown format of a figure; allowed: .{', .'.join(sorted(kinds))}")
    return kind


def _decibels(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Level (n_bins, n_frames) of a waveform (n_channels, n_samples)."""
    n_fft = 2 * round(0.032 * sample_rate)
    hop_length = min(max(n_fft // 4, waveform.shape[-1] // N_COLUMNS), n_fft // 2)
    stft = STFT(n_fft=n_fft, hop_length=hop_length, window="hann")
    spectrogram = stft.forward(waveform)
    thinned = spectrogram[:, :: max(1, spectrogram.shape[1] // N_COLUMNS)]
    power = (np.abs(thinned) ** 2).mean(axis=0).T * np.float32(2 / stft.window_values.sum()) ** 2
    decibels: NDArray[np.float32] = 10 * np.log10(power + np.float32(1e-12))
    return decibels


def _save(figure: Figure, path: Path, kind: str) -> None:
    """Write a figure atomically; the same song gives the same bytes."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with replacing(path) as part, mpl.rc_context({"svg.hashsalt": "duetto"}):
        figure.savefig(part, dpi=110, format=kind, metadata=undated)
