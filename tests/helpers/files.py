"""Audio files for tests, and what is in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from duetto.audio import AudioInfo, AudioReader
from helpers.signals import noise


def write_song(
    path: str | Path,
    samples: np.ndarray | None = None,
    *,
    sample_rate: int = 16_000,
    subtype: str = "PCM_16",
    container: str | None = None,
) -> Path:
    """Write an audio file, and its folder.

    Args:
        path: the file; its suffix names the container.
        samples: (n_channels, n_samples); by default half a second of stereo noise.
        sample_rate: hertz.
        subtype: as libsndfile names it.
        container: where the suffix does not name it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(2, sample_rate // 2, amplitude=0.5) if samples is None else np.atleast_2d(samples)
    soundfile.write(path, samples.T, sample_rate, subtype, format=container or path.suffix[1:].upper())
    return path


def read(source: Any, n_samples: int = 4096) -> tuple[np.ndarray, AudioInfo]:
    """What `AudioReader` gives of a file, block after block, and what it says of it."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader.blocks(n_samples)), axis=1), reader.info


def written(folder: str | Path) -> list[str]:
    """Every file below a folder, hidden ones too, and empty folders; the manifest of a batch is left out."""
    folder = Path(folder)
    paths = (path for path in folder.rglob("*") if not (path.is_dir() and any(path.iterdir())))
    return sorted({path.relative_to(folder).as_posix() for path in paths} - {"manifest.jsonl"})
