"""Random training mixtures of recordings, and the fixed excerpts of full-batch training."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import resample_poly
from torch import Tensor

from duetto.dsp.stft import STFT
from duetto.evaluation.tracks import Waveform
from duetto.training.config import Config, MixingConfig
from duetto.training.data.augment import Rng, decibels, happens, rms, transpose
from duetto.training.data.prefetch import Prefetcher
from duetto.training.data.scene import SceneMaker
from duetto.training.data.sources import Recording
from duetto.training.data.stored_audio import Stored, peak, take

KEPT_TRACKS = 0.6
"""Probability that a track stays in a song that gets tracks of another."""

N_TRIES = 4
"""Tried starts of an excerpt of vocals."""

BLOCK = 400
"""About the samples of a block of vocals that is silent or not."""

SILENT = 0.02
"""Peak of a block, relative to that of the recording, below which it counts as silent."""

Batches = list[tuple[Tensor, float]]
"""Batches of sources (batch_size, 2, n_channels, n_samples), each with its weight in the loss of the step."""


class BatchSource:
    """Gives the batches of process `rank` in a step; all processes' weights sum to 1."""

    def __init__(
        self,
        config: Config,
        recordings: Sequence[Recording],
        *,
        rank: int,
        n_processes: int,
        n_workers: int = 0,
        first_step: int = 0,
    ) -> None:
        """Take the recordings, and start `n_workers` processes that mix ahead from `first_step` on."""
        self._weight = 1 / n_processes
        self._fixed: Batches = []
        self._prefetcher: Prefetcher | None = None
        if config.optimiser.kind == "lbfgs":
            self._fixed = _full_batch(config, recordings, rank, n_processes)
            return
        indices = range(rank, config.optimiser.batch_size, n_processes)
        self._mix = partial(_sampler(config, recordings).batch, indices=indices)
        if n_workers:
            self._prefetcher = Prefetcher(self._mix, first_step, n_workers=n_workers)

    def __call__(self, step: int) -> Batches:
        """The batches of a step; with worker processes, of the step after the one before."""
        if self._fixed:
            return self._fixed
        batch = self._prefetcher.next() if self._prefetcher else self._mix(step)
        return [(torch.from_numpy(batch), self._weight)]

    def close(self) -> None:
        """End the worker processes."""
        if self._prefetcher:
            self._prefetcher.close()


def _full_batch(config: Config, recordings: Sequence[Recording], rank: int, n_processes: int) -> Batches:
    excerpts = fixed_excerpts(
        recordings,
        config.stft.build(centred=False),
        n_frames=config.mixing.n_frames,
        shift_samples=config.optimiser.shift_samples,
        equal_level=config.mixing.equal_level,
    )
    own = torch.from_numpy(excerpts[rank::n_processes])
    return [(part, len(part) / len(excerpts)) for part in torch.split(own, config.optimiser.batch_size)]


def _sampler(config: Config, recordings: Sequence[Recording]) -> "MixtureSampler":
    stft = config.stft
    n_samples = stft.n_fft + (config.mixing.n_frames - 1) * stft.hop_length
    if config.network.input == "spectrogram":
        n_samples -= stft.n_fft  # the transform is centred, with half a window of padding at either end
    rate, seed = config.data.sample_rate, config.run.seed
    return MixtureSampler(recordings, config.mixing, n_samples=n_samples, sample_rate=rate, seed=seed)


class MixtureSampler:
    """Draws random mixtures, each of which depends on the seed, the step and its index in the batch alone."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        config: MixingConfig,
        *,
        n_samples: int,
        sample_rate: int,
        seed: int,
    ) -> None:
        self.config = config
        self.n_samples = n_samples
        self.sample_rate = sample_rate
        self.seed = seed
        self._vocals, self._music = _Pool(recordings, "vocals"), _Pool(recordings, "accompaniment")
        self._multitracks = [recording for recording in recordings if recording.tracks]
        self._scenes = SceneMaker(config.scene, sample_rate) if config.scene else None

    def batch(self, step: int, indices: Iterable[int]) -> Waveform:
        """Draw sources (n_mixtures, 2, n_channels, n_samples), vocals first, of these mixtures of a step."""
        return np.stack([self._mixture(np.random.default_rng([self.seed, step, i])) for i in indices])

    def _mixture(self, rng: Rng) -> Waveform:
        """One mixture's sources (2, n_channels, n_samples)."""
        config = self.config
        singer, (lead, takes), band = self._pair(rng)
        gain, balance = (rng.uniform(-1, 1) * limit for limit in (config.gain_db, config.balance_db))
        balance += config.balance_centre_db
        vocals, music = self._arranged(lead, takes, band, rng)
        if config.equal_level:
            vocals, music = _at_one_level(vocals), _at_one_level(music)
        gains = [decibels(gain + balance / 2), decibels(gain - balance / 2)]
        if happens(config.no_vocals, rng):
            gains[0] = 0.0
        elif happens(config.no_accompaniment, rng):
            gains[1] = 0.0
        sources = np.stack([vocals, music]) * np.array(gains, np.float32)[:, None, None]
        if self._scenes:
            sources = self._scenes.master(sources, rng)
        if singer.bandwidth < self.sample_rate / 2:
            sources = low_pass(sources, singer.bandwidth, self.sample_rate)
        return sources.astype(np.float32, copy=False)

    def _pair(self, rng: Rng) -> tuple[Recording, tuple[Waveform, list[Waveform]], Waveform]:
        """A recording, excerpts of its vocals and of other takes, and of some accompaniment."""
        (singer, vocals), (band, music) = self._vocals.draw(rng), self._music.draw(rng)
        if singer.accompaniment is not None and rng.random() >= self.config.remix:
            band, music = singer, singer.accompaniment
        start = self._start_of_singing(vocals, rng)
        music_start = int(rng.integers(0, music.shape[-1]))
        speed = music_speed = self._speed(rng)
        if band is singer and not self.config.circular_shift:
            music_start = start  # in time and in key
        else:
            music_speed = self._speed(rng)
        sung = self._sung(singer, vocals, start, speed, rng)
        return singer, sung, self._played(band, music, music_start, music_speed, rng)

    def _start_of_singing(self, vocals: Stored, rng: Rng) -> int:
        """The start of an excerpt; in scenes preferably of one in which there are vocals half of the time."""
        start = int(rng.integers(0, vocals.shape[-1]))
        if not self._scenes:
            return start
        for _ in range(N_TRIES - 1):
            excerpt = take(vocals, start, self.n_samples)[0]
            n_blocks = max(1, self.n_samples // BLOCK)
            blocks = np.abs(excerpt[: self.n_samples // n_blocks * n_blocks]).reshape(n_blocks, -1)
            if np.mean(blocks.max(axis=1) > SILENT * peak(vocals)) > 0.5:
                break
            start = int(rng.integers(0, vocals.shape[-1]))
        return start

    def _sung(
        self, singer: Recording, vocals: Stored, start: int, speed: float, rng: Rng
    ) -> tuple[Waveform, list[Waveform]]:
        """Lead vocals (1, n_samples), and other takes of the same passage."""
        if self._scenes and happens(self._scenes.config.slow, rng):
            return self._slow(vocals, start, rng), []
        if not (self._scenes and singer.vocal_tracks):
            return self._excerpt(vocals, start, speed), []
        takes = [self._excerpt(track, start, speed) for track in singer.vocal_tracks]
        levels = np.array([rms(excerpt) for excerpt in takes])
        audible = rng.permutation(np.flatnonzero(levels >= max(0.1 * levels.max(), 1e-9)))
        if audible.size == 0:
            return takes[0], []
        n_others = int(rng.integers(0, 5))
        return takes[audible[0]], [takes[index] for index in audible[1 : 1 + n_others]]

    def _slow(self, vocals: Stored, start: int, rng: Rng) -> Waveform:
        """Vocals (1, n_samples) that are played slowly and transposed to their pitch or a higher one."""
        slower = rng.uniform(1.3, 2.5)
        semitones = 12 * math.log2(slower) + rng.uniform(-2, 8)
        return transpose(self._excerpt(vocals, start, 1 / slower), semitones, self.sample_rate)

    def _played(self, band: Recording, music: Stored, start: int, speed: float, rng: Rng) -> Waveform:
        """Accompaniment (1 or 2, n_samples); that of a multitrack song is mixed anew."""
        if not (self._scenes and band.tracks):
            return self._excerpt(music, start, speed)
        tracks = [self._excerpt(track, start, speed) for track in band.tracks]
        if happens(self._scenes.config.other_tracks, rng):
            other = self._multitracks[int(rng.integers(len(self._multitracks)))]
            begin = int(rng.integers(0, other.tracks[0].shape[-1]))
            chosen = rng.permutation(len(other.tracks))[: int(rng.integers(1, 5))]
            tracks = [track for track in tracks if rng.random() < KEPT_TRACKS]
            tracks += [self._excerpt(other.tracks[index], begin, speed) for index in chosen]
        return self._scenes.band(tracks, rng)

    def _arranged(
        self, vocals: Waveform, takes: list[Waveform], music: Waveform, rng: Rng
    ) -> tuple[Waveform, Waveform]:
        """Add further music and backing vocals, in a stereo scene or in mono."""
        more_music = [self._another(self._music, rng)] if happens(self.config.second_music, rng) else []
        if not self._scenes:
            for other in more_music:
                music = music + other * decibels(rng.uniform(-10, 0))
            return vocals, music.mean(axis=0, keepdims=True)
        if happens(self._scenes.config.backing_vocals, rng):
            takes = [*takes, self._another(self._vocals, rng)]
        return self._scenes.vocals(vocals, takes, rng), self._scenes.music(music, more_music, rng)

    def _another(self, pool: "_Pool", rng: Rng) -> Waveform:
        """An excerpt of any recording."""
        _, waveform = pool.draw(rng)
        return self._excerpt(waveform, int(rng.integers(0, waveform.shape[-1])), self._speed(rng))

    def _speed(self, rng: Rng) -> float:
        """A random factor of pitch and tempo."""
        return float(2 ** (rng.uniform(-1, 1) * self.config.pitch_semitones / 12))

    def _excerpt(self, waveform: Stored, start: int, speed: float) -> Waveform:
        """`n_samples` from `start`, circularly, at another pitch and tempo."""
        ratio = Fraction(speed).limit_denominator(24)  # short enough for a polyphase filter, 1 % off at most
        taken = take(waveform, start, math.ceil(self.n_samples * ratio) + 1)
        played = resample_poly(taken, ratio.denominator, ratio.numerator, axis=-1) if ratio != 1 else taken
        return np.asarray(played[:, : self.n_samples], np.float32)


class _Pool:
    """All waveforms of one source, each drawn by its length times its sampling weight."""

    def __init__(self, recordings: Sequence[Recording], source: str) -> None:
        found = [(recording, getattr(recording, source)) for recording in recordings]
        self._found = [(recording, waveform) for recording, waveform in found if waveform is not None]
        weights = np.array([waveform.shape[-1] * r.sampling_weight for r, waveform in self._found])
        self._probabilities = weights / weights.sum()

    def draw(self, rng: Rng) -> tuple[Recording, Stored]:
        """A recording with its waveform of the source."""
        return self._found[int(rng.choice(len(self._found), p=self._probabilities))]


def _at_one_level(source: Waveform) -> Waveform:
    """A source at a root mean square of 0.1, but almost silent ones below it."""
    return source * np.float32(0.1 / max(rms(source), 1e-3))


def low_pass(waveform: Waveform, cut_off: float, sample_rate: int) -> Waveform:
    """Remove frequencies above a cut-off in hertz, over a transition of 300 Hz."""
    n_samples = waveform.shape[-1]
    n_fft = next_fast_len(n_samples, real=True)
    gains = np.clip((cut_off - rfftfreq(n_fft, 1 / sample_rate)) / 300 + 1, 0, 1).astype(np.float32)
    return irfft(rfft(waveform, n_fft) * gains, n_fft)[..., :n_samples]


def fixed_excerpts(
    recordings: Sequence[Recording],
    stft: STFT,
    *,
    n_frames: int,
    shift_samples: int,
    equal_level: bool = False,
) -> Waveform:
    """Cut the whole training set into excerpts of `n_frames` frames, the last of each track zero-padded.

    With `shift_samples` there is a copy of each track with its vocals rotated by every multiple of that many
    samples (Huang et al. 2014, section 4.2: one copy every 10 000 samples). With `equal_level` each source of
    each track has the same level, as in the authors' code. Solo recordings are left out.

    Returns:
        Sources (n_excerpts, 2, 1, n_samples).
    """
    n_samples = stft.n_fft + (n_frames - 1) * stft.hop_length
    excerpts = []
    for recording in recordings:
        if recording.vocals is None or recording.accompaniment is None:
            continue
        length = recording.vocals.shape[-1]
        vocals, music = take(recording.vocals, 0, length), take(recording.accompaniment, 0, length)
        if equal_level:
            vocals, music = _at_one_level(vocals), _at_one_level(music)
        for shift in range(0, length, shift_samples or length):
            sources = np.concatenate([np.roll(vocals, shift), music])
            for start in range(0, max(1, length - stft.n_fft + 1), n_frames * stft.hop_length):
                piece = sources[:, start : start + n_samples]
                excerpts.append(np.pad(piece, [(0, 0), (0, n_samples - piece.shape[1])]))
    return np.stack(excerpts)[:, :, None]
