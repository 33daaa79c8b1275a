"""Random training mixtures of recordings, and the fixed excerpts of full-batch training."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor

from duetto.dsp.stft import STFT
from duetto.evaluation.datasets import Waveform
from duetto.training.config import Config, MixingConfig
from duetto.training.data.augment import Rng, decibels, happens, rms
from duetto.training.data.scene import SceneMaker
from duetto.training.data.sources import Recording

Batches = list[tuple[Tensor, float]]
"""Batches of sources (batch_size, 2, n_channels, n_samples), each with its weight in the loss of the step."""


def make_batches(
    config: Config, recordings: Sequence[Recording], *, rank: int, n_processes: int
) -> Callable[[int], Batches]:
    """Return a function from a step to the batches of process `rank`; all processes' weights sum to 1."""
    settings, stft = config.optimiser, config.stft.build(centred=False)
    if settings.kind == "lbfgs":
        excerpts = fixed_excerpts(
            recordings, stft, n_frames=config.mixing.n_frames, shift_samples=settings.shift_samples
        )
        own = torch.from_numpy(excerpts[rank::n_processes])
        parts = [(part, len(part) / len(excerpts)) for part in torch.split(own, settings.batch_size)]
        return lambda step: parts
    n_samples = stft.n_fft + (config.mixing.n_frames - 1) * stft.hop_length
    if config.network.input == "spectrogram":
        n_samples -= stft.n_fft  # the transform is centred, with half a window of padding at either end
    sampler = MixtureSampler(
        recordings,
        config.mixing,
        n_samples=n_samples,
        sample_rate=config.data.sample_rate,
        seed=config.run.seed,
    )

    def draw(step: int) -> Batches:
        batch = sampler.batch(step, settings.batch_size)
        return [(torch.from_numpy(batch[rank::n_processes].copy()), 1 / n_processes)]

    return draw


class MixtureSampler:
    """Draws batches of random mixtures; the batch of a step depends on the seed and the step alone."""

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
        self.seed = seed
        sung = [recording for recording in recordings if recording.vocals is not None]
        self._vocals = _Pool([(r.vocals, r.sampling_weight) for r in sung])
        self._music = _Pool([(r.accompaniment, r.sampling_weight) for r in recordings])
        self._own_music = [recording.accompaniment for recording in sung]
        self._scenes = SceneMaker(config.scene, sample_rate) if config.scene else None

    def batch(self, step: int, batch_size: int) -> Waveform:
        """Draw sources (batch_size, 2, n_channels, n_samples): vocals, then accompaniment."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._mixture(rng) for _ in range(batch_size)])

    def _mixture(self, rng: Rng) -> Waveform:
        """One mixture's sources (2, n_channels, n_samples)."""
        config = self.config
        vocals, music, starts = self._pair(rng)
        gain, balance = (rng.uniform(-1, 1) * limit for limit in (config.gain_db, config.balance_db))
        vocals, music = self._excerpt(vocals, starts[0], rng), self._excerpt(music, starts[1], rng)
        vocals, music = self._arranged(vocals, music, rng)
        if config.equal_level:
            vocals, music = (source * np.float32(0.1 / max(rms(source), 1e-3)) for source in (vocals, music))
        gains = [decibels(gain + balance / 2), decibels(gain - balance / 2)]
        if happens(config.no_vocals, rng):
            gains[0] = 0.0
        elif happens(config.no_accompaniment, rng):
            gains[1] = 0.0
        sources = np.stack([vocals, music]) * np.array(gains, np.float32)[:, None, None]
        return self._scenes.master(sources, rng) if self._scenes else sources.astype(np.float32, copy=False)

    def _pair(self, rng: Rng) -> tuple[Waveform, Waveform, list[int]]:
        """Vocals, their own or another recording's accompaniment, and where their excerpts start."""
        singer, other = self._vocals.draw(rng), self._music.waveforms[self._music.draw(rng)]
        vocals, own = self._vocals.waveforms[singer], self._own_music[singer]
        music = other if rng.random() < self.config.remix or own is None else own
        starts = rng.integers(0, [vocals.shape[-1], music.shape[-1]]).tolist()
        if music is own and not self.config.circular_shift:
            starts[1] = starts[0]
        return vocals, music, starts

    def _arranged(self, vocals: Waveform, music: Waveform, rng: Rng) -> tuple[Waveform, Waveform]:
        """Add further music and backing vocals, in a stereo scene or in mono."""
        more_music = self._another(self._music, rng) if happens(self.config.second_music, rng) else None
        if not self._scenes:
            if more_music is not None:
                music = music + more_music * decibels(rng.uniform(-10, 0))
            return vocals, music.mean(axis=0, keepdims=True)
        backing = None
        if happens(self._scenes.config.backing_vocals, rng):
            backing = self._another(self._vocals, rng)
        return self._scenes.vocals(vocals, backing, rng), self._scenes.music(music, more_music, rng)

    def _another(self, pool: "_Pool", rng: Rng) -> Waveform:
        """An excerpt of any recording."""
        waveform = pool.waveforms[pool.draw(rng)]
        return self._excerpt(waveform, int(rng.integers(0, waveform.shape[-1])), rng)

    def _excerpt(self, waveform: Waveform, start: int, rng: Rng) -> Waveform:
        """`n_samples` from `start`, circularly, at a random pitch and tempo."""
        speed = 2 ** (rng.uniform(-1, 1) * self.config.pitch_semitones / 12)
        ratio = Fraction(speed).limit_denominator(24)  # short enough for a polyphase filter, 1 % off at most
        n_taken = math.ceil(self.n_samples * ratio) + 1
        taken = np.take(waveform, np.arange(start, start + n_taken), axis=-1, mode="wrap")
        played = resample_poly(taken, ratio.denominator, ratio.numerator, axis=-1) if ratio != 1 else taken
        return np.asarray(played[:, : self.n_samples], np.float32)


class _Pool:
    """All waveforms of one source, each drawn by its length times its sampling weight."""

    def __init__(self, weighted: Sequence[tuple[Waveform | None, float]]) -> None:
        found = [(waveform, weight) for waveform, weight in weighted if waveform is not None]
        self.waveforms = [waveform for waveform, _ in found]
        weights = np.array([waveform.shape[-1] * weight for waveform, weight in found])
        self._probabilities = weights / weights.sum()

    def draw(self, rng: Rng) -> int:
        """The index of a waveform."""
        return int(rng.choice(len(self.waveforms), p=self._probabilities))


def fixed_excerpts(
    recordings: Sequence[Recording], stft: STFT, *, n_frames: int, shift_samples: int
) -> Waveform:
    """Cut the whole training set into excerpts of `n_frames` frames, the last of each track zero-padded.

    With `shift_samples` there is a copy of each track with its vocals rotated by every multiple of that many
    samples (Huang et al. 2014, section 4.2: one copy every 10 000 samples). Solo recordings are left out.

    Returns:
        Sources (n_excerpts, 2, 1, n_samples).
    """
    n_samples = stft.n_fft + (n_frames - 1) * stft.hop_length
    excerpts = []
    for recording in recordings:
        if recording.vocals is None or recording.accompaniment is None:
            continue
        length = recording.vocals.shape[-1]
        for shift in range(0, length, shift_samples or length):
            sources = np.concatenate([np.roll(recording.vocals, shift), recording.accompaniment])
            for start in range(0, max(1, length - stft.n_fft + 1), n_frames * stft.hop_length):
                piece = sources[:, start : start + n_samples]
                excerpts.append(np.pad(piece, [(0, 0), (0, n_samples - piece.shape[1])]))
    return np.stack(excerpts)[:, :, None]
