"""Training mixtures from the tracks' sources: circular shift, remixing, gain, pitch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from duetto.stft import STFT
from duetto.train.config import MixingConfig

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """One track in memory: mono waveforms of equal length, each (n_samples,)."""

    vocals: Waveform
    accompaniment: Waveform


class RandomMixer:
    """Draws batches of random excerpts; the batch of a step depends on the seed and the step alone."""

    def __init__(self, tracks: Sequence[Sources], config: MixingConfig, *, n_samples: int, seed: int) -> None:
        self.tracks = tracks
        self.config = config
        self.n_samples = n_samples
        self.seed = seed
        lengths = np.array([track.vocals.size for track in tracks], float)
        self._odds = lengths / lengths.sum()  # every second of audio is as likely as any other

    def batch(self, step: int, batch_size: int) -> Waveform:
        """Sources (batch_size, 2, n_samples): vocals, then accompaniment."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._draw(rng) for _ in range(batch_size)])

    def _draw(self, rng: np.random.Generator) -> Waveform:
        first, second = rng.choice(len(self.tracks), 2, p=self._odds)
        other = second if rng.random() < self.config.remix else first
        vocals, accompaniment = self.tracks[first].vocals, self.tracks[other].accompaniment
        starts = rng.integers(0, [vocals.size, accompaniment.size])
        accompaniment_start = starts[1] if self.config.circular_shift or other != first else starts[0]
        gain = rng.uniform(-1, 1) * self.config.gain_db
        balance = rng.uniform(-1, 1) * self.config.balance_db
        speeds = 2 ** (rng.uniform(-1, 1, 2) * self.config.pitch_semitones / 12)
        return np.stack(
            [
                self._excerpt(vocals, starts[0], speeds[0]) * _amplitude(gain + balance / 2),
                self._excerpt(accompaniment, accompaniment_start, speeds[1]) * _amplitude(gain - balance / 2),
            ]
        )

    def _excerpt(self, waveform: Waveform, start: int, speed: float) -> Waveform:
        """`n_samples` from `start`, round the end to the beginning, played at `speed`."""
        ratio = Fraction(speed).limit_denominator(24)  # short enough for a polyphase filter, 1 % off at most
        n_taken = math.ceil(self.n_samples * ratio) + 1
        taken = np.take(waveform, np.arange(start, start + n_taken), mode="wrap")
        played = resample_poly(taken, ratio.denominator, ratio.numerator) if ratio != 1 else taken
        return np.asarray(played[: self.n_samples], np.float32)


def fixed_excerpts(tracks: Sequence[Sources], stft: STFT, *, n_frames: int, shift_samples: int) -> Waveform:
    """The whole training set as excerpts of `n_frames` frames, the last of each track filled with zeros.

    With `shift_samples` each track comes again with its vocals rotated by every multiple of that many
    samples (Huang et al. 2014, section 4.2: one copy every 10 000 samples).

    Returns:
        Sources (n_excerpts, 2, n_samples).
    """
    n_samples = stft.n_fft + (n_frames - 1) * stft.hop_length
    excerpts = []
    for track in tracks:
        length = track.vocals.size
        for shift in range(0, length, shift_samples or length):
            sources = np.stack([np.roll(track.vocals, shift), track.accompaniment])
            for start in range(0, max(1, length - stft.n_fft + 1), n_frames * stft.hop_length):
                piece = sources[:, start : start + n_samples]
                excerpts.append(np.pad(piece, [(0, 0), (0, n_samples - piece.shape[1])]))
    return np.stack(excerpts)


def _amplitude(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
