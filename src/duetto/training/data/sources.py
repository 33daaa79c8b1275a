"""The recordings of a run: what trains, and the validation set, at the sample rate of the recipe."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

from duetto.audio import AUDIO_SUFFIXES, load_audio
from duetto.errors import ConfigError, DatasetError
from duetto.evaluation.datasets import Track, TrackAudio, Waveform, equal_energy, load_tracks
from duetto.training.config import DataConfig

VALIDATION_SECONDS = 12
"""Longest mixture of held-out solo recordings."""


@dataclass(frozen=True)
class Recording:
    """A training recording in memory: sources of equal length, None for one that it lacks.

    Attributes:
        vocals: (1, n_samples).
        accompaniment: (1 or 2, n_samples).
        sampling_weight: of each of its seconds.
    """

    vocals: Waveform | None
    accompaniment: Waveform | None
    sampling_weight: float = 1.0


@dataclass(frozen=True)
class SoloFile:
    """A file with a recording of one source alone.

    Attributes:
        path: the file.
        source: "vocals" or "accompaniment".
        held_out: whether it belongs to the validation set.
        sampling_weight: of each of its seconds in training.
    """

    path: Path
    source: str
    held_out: bool
    sampling_weight: float = 1.0

    def load(self, sample_rate: int) -> Recording:
        """Read it at `sample_rate` hertz; vocals, and files with more than two channels, in mono.

        Raises:
            DatasetError: its sample rate is lower.
        """
        audio = _load_at(self.path, sample_rate)
        if self.source == "vocals" or len(audio) > 2:
            audio = audio.mean(axis=0, keepdims=True)
        sources = {"vocals": None, "accompaniment": None, self.source: audio}
        return Recording(**sources, sampling_weight=self.sampling_weight)


def load_data(config: DataConfig, root: Path) -> tuple[list[Recording], list[Track]]:
    """Read the training recordings into memory and list the tracks of the validation set.

    Raises:
        ConfigError: a held-out song or singer that does not exist, or an empty training or validation set.
        DatasetError: an incomplete dataset, or one with a lower sample rate.
    """
    tracks, validation = _split_tracks(config, root / config.folder)
    solos = list_solo_files(config, root)
    validation += held_out_mixtures(solos, config)
    if not (tracks and validation):
        raise ConfigError(
            f"data: {len(tracks)} tracks for training and {len(validation)} for validation; set "
            "data.validation_split, data.held_out_songs or data.n_held_out_songs so that neither is empty"
        )
    rate = config.sample_rate
    recordings = [_load_track(at_sample_rate(track, rate)) for track in tracks]
    recordings += [solo.load(rate) for solo in solos if not solo.held_out]
    if config.vocals_high_pass:
        recordings = [_without_rumble(recording, config) for recording in recordings]
    return recordings, [at_sample_rate(track, rate) for track in validation]


def _split_tracks(config: DataConfig, folder: Path) -> tuple[list[Track], list[Track]]:
    """The dataset's tracks for training, and those for validation."""
    tracks = load_tracks(config.dataset, folder, split=config.train_split)
    songs = sorted({track.song for track in tracks})
    split = f"in the split {config.train_split!r}"
    if unknown := sorted(set(config.held_out_songs) - set(songs)):
        raise ConfigError(f"data.held_out_songs: there is no song {unknown[0]!r} {split}")
    if unknown := sorted(set(config.held_out_singers) - {str(track.singer) for track in tracks}):
        raise ConfigError(f"data.held_out_singers: there is no singer {unknown[0]!r} {split}")
    held_out = {*config.held_out_songs, *songs[len(songs) - config.n_held_out_songs :]}
    held_out |= {track.song for track in tracks if track.singer in config.held_out_singers}
    validation = []
    if config.validation_split:
        validation = load_tracks(config.dataset, folder, split=config.validation_split)
    validation += [track for track in tracks if track.song in held_out]
    return [track for track in tracks if track.song not in held_out], validation


def list_solo_files(config: DataConfig, root: Path) -> list[SoloFile]:
    """List the solo recordings of a recipe by name; no audio is read.

    Raises:
        DatasetError: a folder without recordings, or a name pattern that fits none.
    """
    solos = list(_solo_files(config, root))
    for setting in ("held_out_recordings", "sampling_weights"):
        for pattern in getattr(config, setting):
            if not any(fnmatch(solo.path.stem, pattern) for solo in solos):
                raise DatasetError(f"data.{setting}: no recording is named {pattern!r}")
    return solos


def _solo_files(config: DataConfig, root: Path) -> Iterator[SoloFile]:
    for source, folders in (("vocals", config.solo_vocals), ("accompaniment", config.solo_accompaniment)):
        for folder in folders:
            files = (root / folder).glob("*")
            paths = sorted(path for path in files if path.suffix.lower() in AUDIO_SUFFIXES)
            if not paths:
                raise DatasetError(f"{root / folder} holds no recordings; data.solo_{source} names it")
            for path in paths:
                held_out = any(fnmatch(path.stem, pattern) for pattern in config.held_out_recordings)
                weights = (w for pattern, w in config.sampling_weights.items() if fnmatch(path.stem, pattern))
                yield SoloFile(path, source, held_out, next(weights, 1.0))


def held_out_mixtures(solos: list[SoloFile], config: DataConfig) -> list[Track]:
    """Mix each held-out voice with the next held-out accompaniment, at equal energy and 12 s at most."""
    voices = [solo.path for solo in solos if solo.held_out and solo.source == "vocals"]
    music = [solo.path for solo in solos if solo.held_out and solo.source == "accompaniment"]
    tracks = []
    for index, voice in enumerate(voices if music else []):
        accompaniment = music[index % len(music)]
        load = partial(_load_mixture, voice, accompaniment, config.sample_rate)
        tracks.append(Track(f"{voice.stem} over {accompaniment.stem}", voice.stem, None, load))
    return tracks


def _load_mixture(voice: Path, music: Path, sample_rate: int) -> TrackAudio:
    """The beginning of the vocals and the middle of the music, in mono."""
    vocals, accompaniment = (
        _load_at(path, sample_rate).mean(axis=0, keepdims=True) for path in (voice, music)
    )
    n_samples = min(VALIDATION_SECONDS * sample_rate, vocals.shape[-1], accompaniment.shape[-1])
    start = (accompaniment.shape[-1] - n_samples) // 2
    vocals, accompaniment = vocals[:, :n_samples], accompaniment[:, start : start + n_samples]
    return TrackAudio(
        {"vocals": equal_energy(vocals, accompaniment), "accompaniment": accompaniment}, sample_rate
    )


def _load_track(track: Track) -> Recording:
    sources = track.load().sources
    return Recording(**{name: source.mean(axis=0, keepdims=True) for name, source in sources.items()})


def _load_at(path: Path, sample_rate: int) -> Waveform:
    audio, found_rate = load_audio(path)
    return resample(audio, found_rate, sample_rate, str(path))


def _without_rumble(recording: Recording, config: DataConfig) -> Recording:
    if recording.vocals is None:
        return recording
    high_pass = butter(4, config.vocals_high_pass, "highpass", fs=config.sample_rate, output="sos")
    vocals = sosfiltfilt(high_pass, recording.vocals, padtype=None).astype(np.float32)
    return replace(recording, vocals=vocals)


def at_sample_rate(track: Track, sample_rate: int) -> Track:
    """Resample a track to `sample_rate` hertz when it is loaded, which raises DatasetError if it has less."""
    return replace(track, load=partial(_load_resampled, track.load, track.name, sample_rate))


def _load_resampled(load: Callable[[], TrackAudio], name: str, sample_rate: int) -> TrackAudio:
    audio = load()
    sources = {
        source: resample(waveform, audio.sample_rate, sample_rate, name)
        for source, waveform in audio.sources.items()
    }
    return TrackAudio(sources, sample_rate)


def resample(waveform: Waveform, sample_rate: int, new_sample_rate: int, name: str) -> Waveform:
    """Resample a waveform (..., n_samples) to a lower sample rate in hertz; `name` is for the error.

    Raises:
        DatasetError: the new rate is higher, so that a network would learn from an empty band.
    """
    if sample_rate < new_sample_rate:
        raise DatasetError(
            f"{name}: its sample rate is {sample_rate} Hz, below the recipe's {new_sample_rate} Hz; "
            "set data.sample_rate"
        )
    if sample_rate == new_sample_rate:
        return waveform
    return np.asarray(resample_poly(waveform, new_sample_rate, sample_rate, axis=-1), np.float32)
