"""Packs excerpts of the training recordings into a small folder, for a machine that is available for minutes.

Usage: python scripts/pack_recordings.py DATA PACK [--recipe duetto] [--megabytes 60]

PACK has the folders and file names of DATA, so the same recipe trains on it:

    duetto train duetto --data PACK -o runs/lent --set run.init_from=duetto --set run.precision=bf16-mixed

Of every recording there is one excerpt from its middle, longer for a higher sampling weight; held-out
recordings are whole. Excerpts are coded as Ogg Opus at 24 kbit/s and channel, of which nothing below 8 kHz is
lost. The tracks of a multitrack song have the same excerpt.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from duetto import load_audio
from duetto.audio import AUDIO_SUFFIXES, AudioReader
from duetto.audio.atomic import replacing
from duetto.training.config import DataConfig
from duetto.training.config_io import load_config
from duetto.training.data.sources import (
    MULTITRACK,
    first_fitting,
    list_solo_files,
    list_songs,
    resample,
    song_files,
)

BITS_PER_SECOND = 24_000
"""Of a channel."""
COMPRESSION_LEVEL = (256_000 - BITS_PER_SECOND) / 250_000
"""With which libsndfile codes Opus at that rate."""


@dataclass(frozen=True)
class Packed:
    """Files of which the same excerpt is taken.

    Attributes:
        paths: the files.
        seconds: length of the longest.
        n_channels: sum over the files.
        weight: sampling weight; infinite for those that are taken whole.
    """

    paths: tuple[Path, ...]
    seconds: float
    n_channels: int
    weight: float

    def excerpt_seconds(self, scale: float) -> float:
        """Length of the excerpt: proportional to the weight and the length, but no longer than the files."""
        return self.seconds * min(1.0, scale * self.weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--recipe", default="duetto")
    parser.add_argument("--megabytes", type=float, default=60)
    options = parser.parse_args()
    config = load_config(options.recipe, []).data
    recordings = list(list_recordings(config, options.data))
    scale = fitting_scale(recordings, options.megabytes * 1e6)
    for recording in recordings:
        write_excerpt(recording, scale, config.sample_rate, options.data, options.pack)
    n_bytes = sum(path.stat().st_size for path in options.pack.rglob("*.opus"))
    hours = sum(recording.n_channels * recording.excerpt_seconds(scale) for recording in recordings) / 3600
    print(
        f"{options.pack}: {len(recordings)} recordings, {hours:.1f} hours of channels, {n_bytes / 1e6:.1f} MB"
    )


def list_recordings(config: DataConfig, root: Path) -> Iterator[Packed]:
    """The dataset, the solo recordings and the multitrack songs of a recipe."""
    dataset = root / config.folder
    for path in sorted(path for path in dataset.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES):
        singer = path.stem.split("_")[0]
        yield describe([path], math.inf if singer in config.held_out_singers else 1.0)
    for solo in list_solo_files(config, root):
        yield describe([solo.path], math.inf if solo.held_out else solo.sampling_weight)
    for folder in list_songs(config, root):
        weight = first_fitting(config.sampling_weights, f"{MULTITRACK}{folder.name}", 1.0)
        yield describe(song_files(folder), weight)


def describe(paths: list[Path], weight: float) -> Packed:
    lengths, n_channels = [], 0
    for path in paths:
        with AudioReader(path) as reader:
            lengths.append(reader.info.n_samples / reader.info.sample_rate)
            n_channels += min(2, reader.info.n_channels)
    return Packed(tuple(paths), max(lengths), n_channels, weight)


def fitting_scale(recordings: list[Packed], n_bytes: float) -> float:
    """The scale with which the excerpts fill so many bytes, by bisection."""

    def size(scale: float) -> float:
        channel_seconds = (rec.n_channels * rec.excerpt_seconds(scale) for rec in recordings)
        return sum(channel_seconds) * BITS_PER_SECOND / 8

    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) < n_bytes else (low, middle)
    return low


def write_excerpt(recording: Packed, scale: float, sample_rate: int, root: Path, pack: Path) -> None:
    seconds = recording.excerpt_seconds(scale)
    start = (recording.seconds - seconds) / 2
    for path in recording.paths:
        audio, rate = load_audio(path)
        excerpt = audio[:2, round(start * rate) : math.ceil((start + seconds) * rate)]
        if not excerpt.shape[-1]:
            continue
        excerpt = np.clip(resample(excerpt, rate, sample_rate, str(path)), -1, 1)
        target = (pack / path.relative_to(root)).with_suffix(".opus")
        with replacing(target) as temporary:
            soundfile.write(
                temporary,
                excerpt.T,
                sample_rate,
                format="OGG",
                subtype="OPUS",
                compression_level=COMPRESSION_LEVEL,
            )


if __name__ == "__main__":
    main()
