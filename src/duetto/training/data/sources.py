"""Recordings of one source alone, and the mixtures of those that are kept out of training."""

from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto.audio import EXTENSIONS, load_audio
from duetto.errors import DatasetError
from duetto.evaluation.datasets import Track, TrackAudio
from duetto.training.config import DataConfig
from duetto.training.data.resampling import resampled
from duetto.training.data.sampler import Sources

LONGEST_SECONDS = 12
"""Of a held-out mixture."""


@dataclass(frozen=True)
class Solo:
    """One recording.

    Attributes:
        path: its file.
        source: "vocals" or "accompaniment".
        held_out: whether it is kept out of training.
        odds: how likely a second of it is to train.
    """

    path: Path
    source: str
    held_out: bool
    odds: float = 1.0

    def load(self, sample_rate: int) -> Sources:
        """The recording at `sample_rate` hertz; vocals, and what has more than two channels, in mono.

        Raises:
            DatasetError: it has a lower sample rate.
        """
        audio = _audio(self.path, sample_rate)
        if self.source == "vocals" or len(audio) > 2:
            audio = audio.mean(axis=0, keepdims=True)
        return Sources(**{"vocals": None, "accompaniment": None, self.source: audio}, odds=self.odds)


def load_solos(config: DataConfig, root: Path) -> list[Solo]:
    """The solo recordings of a recipe, by name; no audio is read.

    Raises:
        DatasetError: a folder without recordings, or a pattern of held-out names that fits none.
    """
    solos = []
    for source, folders in (("vocals", config.solo_vocals), ("accompaniment", config.solo_accompaniment)):
        for folder in folders:
            paths = sorted(
                path for path in (root / folder).glob("*") if path.suffix.lower() in EXTENSIONS.values()
            )
            if not paths:
                raise DatasetError(f"{root / folder} holds no recordings; data.solo_{source} names it")
            for path in paths:
                kept_out = any(fnmatch(path.stem, pattern) for pattern in config.held_out_recordings)
                fitting = (odds for pattern, odds in config.odds.items() if fnmatch(path.stem, pattern))
                solos.append(Solo(path, source, kept_out, next(fitting, 1.0)))
    for setting, patterns in (("held_out_recordings", config.held_out_recordings), ("odds", config.odds)):
        for pattern in patterns:
            if not any(fnmatch(solo.path.stem, pattern) for solo in solos):
                raise DatasetError(f"data.{setting}: no recording is named {pattern!r}")
    return solos


def held_out_mixtures(solos: list[Solo], config: DataConfig) -> list[Track]:
    """Each held-out voice over the next of the held-out accompaniments, at equal energy and 12 s at most."""
    voices = [solo.path for solo in solos if solo.held_out and solo.source == "vocals"]
    music = [solo.path for solo in solos if solo.held_out and solo.source == "accompaniment"]
    if not music:
        return []
    return [
        Track(
            f"{voice.stem} over {music[index % len(music)].stem}",
            voice.stem,
            None,
            partial(_mixture, voice, music[index % len(music)], config.sample_rate),
        )
        for index, voice in enumerate(voices)
    ]


def _mixture(voice: Path, music: Path, sample_rate: int) -> TrackAudio:
    """The beginning of the voice over the middle of the music; silence has no energy to make equal."""
    sources = [_audio(path, sample_rate).mean(axis=0, keepdims=True) for path in (voice, music)]
    n_samples = min(LONGEST_SECONDS * sample_rate, *(source.shape[-1] for source in sources))
    starts = [0, (sources[1].shape[-1] - n_samples) // 2]
    vocals, accompaniment = (
        source[:, start : start + n_samples] for source, start in zip(sources, starts, strict=True)
    )
    energies = [float(np.square(source, dtype=float).sum()) for source in (vocals, accompaniment)]
    if min(energies) > 0:
        vocals = vocals * np.float32(np.sqrt(energies[1] / energies[0]))
    return TrackAudio({"vocals": vocals, "accompaniment": accompaniment}, sample_rate)


def _audio(path: Path, sample_rate: int) -> NDArray[np.float32]:
    audio, found_rate = load_audio(path)
    return resampled(audio, found_rate, sample_rate, str(path))
