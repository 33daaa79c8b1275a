"""Small batches: songs, and what a folder of stems holds."""

import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def write_songs(folder: Path, n_songs: int, seconds: float = 0.3) -> list[Path]:
    """Stereo noise, each song another, in two folders."""
    paths = []
    for k in range(n_songs):
        path = folder / ("odd" if k % 2 else "even") / f"{k:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = np.random.default_rng(k).uniform(-0.5, 0.5, (round(seconds * RATE) + k, 2))
        soundfile.write(path, audio, RATE)
        paths.append(path)
    return paths


def stems(out: Path) -> dict[str, bytes]:
    """Everything below an output folder but its manifest, hidden files too."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith("manifest")
    }


def records(out: Path) -> list[dict]:
    """The records of a manifest in its order; a half line at the place of a kill is no JSON."""
    found = []
    for line in (out / "manifest.jsonl").read_bytes().splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if "song" in values:
            found.append(values)
    return found
