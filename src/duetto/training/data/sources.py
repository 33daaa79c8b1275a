"""The recordings of a run: what trains, and the validation set, at the sample rate of the recipe."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache, partial, reduce
from pathlib import Path

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

from duetto.audio import AUDIO_SUFFIXES, load_audio
from duetto.errors import ConfigError, DatasetError, DuettoWarning
from duetto.evaluation.datasets import load_tracks
from duetto.evaluation.tracks import SUNG, Track, TrackAudio, Waveform, equal_energy, is_sung
from duetto.training.config import DataConfig
from duetto.training.data.stored_audio import Stored, store

SOURCES = ("vocals", "accompaniment")

MULTITRACK = "multitrack-"
"""Prefix of multitrack songs in the name patterns of settings."""

VALIDATION_SECONDS = 12
"""Longest mixture of held-out solo recordings."""


@dataclass(frozen=True)
class Recording:
    """A training recording: sources of equal length, None for one that it lacks.

    Attributes:
        vocals: (1, n_samples).
        accompaniment: (1 or 2, n_samples).
        sampling_weight: of each of its seconds.
        bandwidth: of the vocals, in hertz.
        vocal_tracks: tracks (1, n_samples) that sum to the vocals, where they are known.
        tracks: tracks (1 or 2, n_samples) that sum to the accompaniment, where they are known.
    """

    vocals: Stored | None
    accompaniment: Stored | None
    sampling_weight: float = 1.0
    bandwidth: float = math.inf
    vocal_tracks: tuple[Stored, ...] = ()
    tracks: tuple[Stored, ...] = ()


@dataclass(frozen=True)
class SoloFile:
    """A file with a recording of one source alone.

    Attributes:
        path: the file.
        source: "vocals" or "accompaniment".
        held_out: whether it belongs to the validation set.
        sampling_weight: of each of its seconds in training.
        bandwidth: of vocals, in hertz.
    """

    path: Path
    source: str
    held_out: bool
    sampling_weight: float = 1.0
    bandwidth: float = math.inf

    def load(self, sample_rate: int) -> Waveform:
        """Read it at `sample_rate` hertz; vocals, and files with more than two channels, in mono.

        Raises:
            DatasetError: its sample rate is lower.
        """
        audio = _load_at(self.path, sample_rate)
        if self.source == "vocals" or len(audio) > 2:
            audio = audio.mean(axis=0, keepdims=True)
        return audio


def load_data(config: DataConfig, root: Path) -> tuple[list[Recording], list[Track]]:
    """Read or store the training recordings, and list the tracks of the validation set.

    Raises:
        ConfigError: a held-out song or singer that does not exist, or an empty training or validation set.
        DatasetError: an incomplete dataset, or one with a lower sample rate.
    """
    tracks, validation = _split_tracks(config, root / config.folder)
    solos = list_solo_files(config, root)
    validation += held_out_mixtures(solos, config)
    if not (tracks and validation):
        raise ConfigError(
            f"data: {len(tracks)} tracks for training and {len(validation)} for validation; add songs, or "
            "set data.validation_split, data.held_out_songs or data.n_held_out_songs so that neither is empty"
        )
    reader = _Reader(config, root)
    recordings = [reader.track(track) for track in tracks]
    recordings += [reader.solo(solo) for solo in solos if not solo.held_out]
    for folder in list_songs(config, root):
        weight = first_fitting(config.sampling_weights, f"{MULTITRACK}{folder.name}", 1.0)
        recordings.append(reader.song(str(folder), song_files(folder), weight))
    return recordings, [at_sample_rate(track, config.sample_rate) for track in validation]


@dataclass(frozen=True)
class _Reader:
    """Reads recordings into memory, or into the store of a recipe."""

    config: DataConfig
    root: Path

    def track(self, track: Track) -> Recording:
        """A song with both sources, in mono; a multitrack song with its tracks."""
        if track.files:
            return self.song(str(track.files[0].parent), track.files)

        def load() -> dict[str, Waveform]:
            sources = at_sample_rate(track, self.config.sample_rate).load().sources
            return {name: source.mean(axis=0, keepdims=True) for name, source in sources.items()}

        held = self._held(track.name, SOURCES, load)
        return Recording(held["vocals"], held["accompaniment"])

    def solo(self, solo: SoloFile) -> Recording:
        """A recording of one source alone."""
        rate = self.config.sample_rate
        held = self._held(str(solo.path), [solo.source], lambda: {solo.source: solo.load(rate)})
        vocals, accompaniment = (held.get(source) for source in SOURCES)
        return Recording(vocals, accompaniment, solo.sampling_weight, solo.bandwidth)

    def song(self, name: str, files: Sequence[Path], sampling_weight: float = 1.0) -> Recording:
        """A multitrack song: its tracks, and the sums of those that are sung and of the others."""
        kinds = {"vocals": [path.name for path in files if is_sung(path)]}
        kinds["accompaniment"] = [path.name for path in files if not is_sung(path)]

        def load() -> dict[str, Waveform]:
            tracks = load_song(files, self.config.sample_rate)
            sums = {kind: [tracks[name] for name in members] for kind, members in kinds.items() if members}
            return tracks | {kind: reduce(np.add, waveforms) for kind, waveforms in sums.items()}

        parts = [*(kind for kind in kinds if kinds[kind]), *(path.name for path in files)]
        held = self._held(name, parts, load)
        return Recording(
            held.get("vocals"),
            held.get("accompaniment"),
            sampling_weight,
            vocal_tracks=tuple(held[part] for part in kinds["vocals"]),
            tracks=tuple(held[part] for part in kinds["accompaniment"]),
        )

    def _held(
        self, name: str, parts: Sequence[str], load: Callable[[], dict[str, Waveform]]
    ) -> dict[str, Stored]:
        """Waveforms by the names of a recording's parts; `load` is called where one is not stored."""
        load_once = cache(load)

        def load_part(part: str) -> Waveform:
            waveform = load_once()[part]
            return _without_rumble(waveform, self.config) if part.lower().startswith(SUNG) else waveform

        if not self.config.store:
            return {part: load_part(part) for part in parts}
        settings = f"{self.config.sample_rate} Hz, from {self.config.vocals_high_pass} Hz"
        folder = self.root / self.config.store
        return {part: store(folder, f"{name} {part} {settings}", partial(load_part, part)) for part in parts}


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

    Warns of sampling weights and bandwidths that fit no recording: the source of some may not be at hand.

    Raises:
        DatasetError: a folder without recordings, or a pattern of held-out recordings that fits none.
    """
    solos = list(_solo_files(config, root))
    names = [solo.path.stem for solo in solos]
    names += [f"{MULTITRACK}{folder.name}" for folder in list_songs(config, root)]
    if unused := _unused(config.held_out_recordings, names):
        raise DatasetError(f"data.held_out_recordings: no recording is named {unused[0]!r}")
    for setting in ("sampling_weights", "bandwidths"):
        if unused := _unused(getattr(config, setting), names):
            warnings.warn(
                f"data.{setting}: no recording is named {', '.join(unused)}", DuettoWarning, stacklevel=2
            )
    return solos


def _unused(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The patterns that fit no name."""
    return [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)]


def _solo_files(config: DataConfig, root: Path) -> Iterator[SoloFile]:
    for source, folders in (("vocals", config.solo_vocals), ("accompaniment", config.solo_accompaniment)):
        for folder in folders:
            files = (root / folder).glob("*")
            paths = sorted(path for path in files if path.suffix.lower() in AUDIO_SUFFIXES)
            if not paths:
                raise DatasetError(f"{root / folder} holds no recordings; data.solo_{source} names it")
            for path in paths:
                held_out = any(fnmatch(path.stem, pattern) for pattern in config.held_out_recordings)
                weight = first_fitting(config.sampling_weights, path.stem, 1.0)
                bandwidth = first_fitting(config.bandwidths, path.stem, math.inf)
                yield SoloFile(path, source, held_out, weight, bandwidth)


def first_fitting(values: dict[str, float], name: str, default: float) -> float:
    """The value of the first pattern that fits a name."""
    return next((value for pattern, value in values.items() if fnmatch(name, pattern)), default)


def list_songs(config: DataConfig, root: Path) -> list[Path]:
    """List the folders of the multitrack songs of a recipe by name.

    Raises:
        DatasetError: a folder without songs.
    """
    found = []
    for folder in config.multitracks:
        songs = sorted(path for path in (root / folder).glob("*") if path.is_dir())
        if not songs:
            raise DatasetError(f"{root / folder} holds no folders of songs; data.multitracks names it")
        found += songs
    return found


def song_files(folder: Path) -> list[Path]:
    """The files of a multitrack song by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)


def load_song(files: Sequence[Path], sample_rate: int) -> dict[str, Waveform]:
    """Read the tracks of a multitrack song by the names of their files, padded to one length; vocals in mono.

    Raises:
        DatasetError: a track has a lower sample rate.
    """
    loaded = {path: _load_at(path, sample_rate) for path in files}
    length = max(audio.shape[-1] for audio in loaded.values())
    tracks = {}
    for path, audio in loaded.items():
        mixed = audio.mean(axis=0, keepdims=True) if is_sung(path) or len(audio) > 2 else audio
        tracks[path.name] = np.pad(mixed, [(0, 0), (0, length - audio.shape[-1])])
    return tracks


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


def _load_at(path: Path, sample_rate: int) -> Waveform:
    audio, found_rate = load_audio(path)
    return resample(audio, found_rate, sample_rate, str(path))


def _without_rumble(vocals: Waveform, config: DataConfig) -> Waveform:
    if not config.vocals_high_pass:
        return vocals
    high_pass = butter(4, config.vocals_high_pass, "highpass", fs=config.sample_rate, output="sos")
    return np.asarray(sosfiltfilt(high_pass, vocals, padtype=None), np.float32)


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
            f"{name}: its sample rate is {sample_rate} Hz, below the recipe's {new_sample_rate} Hz; leave it "
            "out, or set data.sample_rate for a network that is trained from the start"
        )
    if sample_rate == new_sample_rate:
        return waveform
    return np.asarray(resample_poly(waveform, new_sample_rate, sample_rate, axis=-1), np.float32)
