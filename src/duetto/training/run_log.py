"""The log of a run: JSON lines, TensorBoard with histograms, audio and spectrograms, the git revision."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from duetto.dsp.stft import STFT
from duetto.training.checkpoint import write_whole

LOG = "log.jsonl"
DYNAMIC_RANGE_DB = 70.0


class RunLog:
    """Writes log.jsonl and TensorBoard files; what a killed run logged after `step` is dropped.

    Args:
        folder: of the run.
        step: number of steps done before.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / LOG
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        write_whole(path, b"".join(lines[:step]))  # every step is one line
        self._lines = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one TensorBoard scalar per value."""
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def histograms(self, step: int, network: nn.Module) -> None:
        """Histograms of every weight and of its gradient."""
        for name, parameter in network.named_parameters():
            self._board.add_histogram(f"weights/{name}", parameter.detach(), step)
            if parameter.grad is not None:
                self._board.add_histogram(f"gradients/{name}", parameter.grad, step)

    def audio(
        self, step: int, track: str, waveforms: Mapping[str, NDArray[np.float32]], sample_rate: int
    ) -> None:
        """Each waveform (n_samples,) as audio at a common gain, and log-spectrograms side by side."""
        peak = max(1.0, *(float(np.abs(waveform).max()) for waveform in waveforms.values()))
        for name, waveform in waveforms.items():
            self._board.add_audio(f"{track}/{name}", waveform[None] / peak, step, sample_rate)
        gap = [(0, 0), (0, 6)]
        pictures = [
            np.pad(_log_spectrogram(waveform), gap, constant_values=1) for waveform in waveforms.values()
        ]
        picture = np.concatenate(pictures, axis=1)
        self._board.add_image(f"{track}/{', '.join(waveforms)}", picture[None], step)

    def flush(self) -> None:
        """Write to the disk what has been logged."""
        self._board.flush()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._board.close()


def _log_spectrogram(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Image (height, width) in [0, 1], high frequencies on top."""
    spectrogram = STFT(n_fft=1024, hop_length=512, window="hann").forward(waveform)
    decibels = 20 * np.log10(np.abs(spectrogram.T[::-1]) + 1e-7)
    picture: NDArray[np.float32] = np.clip((decibels - decibels.max()) / DYNAMIC_RANGE_DB + 1, 0, 1)
    return picture


def git_revision() -> str | None:
    """The commit of the running checkout, with "+" if tracked files have changed; None outside a checkout."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
