"""The data of a run, and what each process sees of it in each step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from duetto.errors import ConfigError
from duetto.evaluation.datasets import Track, load_tracks
from duetto.training.config import Config, DataConfig
from duetto.training.data.resampling import at_sample_rate
from duetto.training.data.sampler import RandomMixer, Sources, fixed_excerpts
from duetto.training.data.sources import held_out_mixtures, load_solos

Batches = list[tuple[Tensor, float]]
"""Sources (batch_size, 2, n_channels, n_samples), each with its share of the step's loss."""


def load_data(config: DataConfig, root: Path) -> tuple[list[Sources], list[Track]]:
    """What trains, in memory, and the tracks that are scored: dev and held-out songs.

    Raises:
        ConfigError: a held-out song that does not exist, or nothing left to train on or to score.
        DatasetError: an incomplete dataset, or one with a lower sample rate.
    """
    folder = root / config.folder
    tracks = load_tracks(config.dataset, folder, split=config.train)
    held_out = set(config.held_out_songs)
    songs = sorted({track.song for track in tracks})
    if unknown := sorted(held_out - set(songs)):
        raise ConfigError(f"data.held_out_songs: {unknown[0]!r} is no song of the split {config.train!r}")
    if unknown := sorted(set(config.held_out_singers) - {str(track.singer) for track in tracks}):
        raise ConfigError(
            f"data.held_out_singers: {unknown[0]!r} sings no track of the split {config.train!r}"
        )
    held_out |= set(songs[len(songs) - config.n_held_out_songs :])
    held_out |= {track.song for track in tracks if track.singer in config.held_out_singers}
    dev = load_tracks(config.dataset, folder, split=config.dev) if config.dev else []
    dev += [track for track in tracks if track.song in held_out]
    trained = [track for track in tracks if track.song not in held_out]
    solos = load_solos(config, root)
    dev += held_out_mixtures(solos, config)
    if not (trained and dev):
        raise ConfigError(
            f"data: {len(trained)} tracks to train on and {len(dev)} to score; set data.dev, "
            "data.held_out_songs or data.n_held_out_songs so that there are some of both"
        )
    dev = [at_sample_rate(track, config.sample_rate) for track in dev]
    sources = [_load(at_sample_rate(track, config.sample_rate)) for track in trained]
    sources += [solo.load(config.sample_rate) for solo in solos if not solo.held_out]
    return [_without_rumble(source, config) for source in sources], dev


def _without_rumble(source: Sources, config: DataConfig) -> Sources:
    if source.vocals is None or not config.vocals_high_pass:
        return source
    high_pass = butter(4, config.vocals_high_pass, "highpass", fs=config.sample_rate, output="sos")
    vocals = sosfiltfilt(high_pass, source.vocals, padtype=None).astype(np.float32)
    return replace(source, vocals=vocals)


def _load(track: Track) -> Sources:
    audio = track.load()
    vocals, accompaniment = (
        np.ascontiguousarray(audio.sources[name].mean(axis=0, keepdims=True))
        for name in ("vocals", "accompaniment")
    )
    return Sources(vocals=vocals, accompaniment=accompaniment)


def make_batches(
    config: Config, sources: Sequence[Sources], *, rank: int, n_processes: int
) -> Callable[[int], Batches]:
    """A function from a step to what the process `rank` sees in it; the shares of all processes sum to 1."""
    settings, stft = config.optimiser, config.stft.build(centred=False)
    if settings.batch == "full":
        excerpts = fixed_excerpts(
            sources, stft, n_frames=config.mixing.n_frames, shift_samples=settings.shift_samples
        )
        own = torch.from_numpy(excerpts[rank::n_processes])
        parts = [(part, len(part) / len(excerpts)) for part in torch.split(own, settings.batch_size)]
        return lambda step: parts
    n_samples = stft.n_fft + (config.mixing.n_frames - 1) * stft.hop_length
    if config.network.input == "spectrogram":
        n_samples -= stft.n_fft  # its transform is centred, with half a window beyond either end
    mixer = RandomMixer(
        sources, config.mixing, n_samples=n_samples, sample_rate=config.data.sample_rate, seed=config.run.seed
    )

    def draw(step: int) -> Batches:
        batch = mixer.batch(step, settings.batch_size)
        return [(torch.from_numpy(batch[rank::n_processes].copy()), 1 / n_processes)]

    return draw
