"""Training mixtures from the sources of recordings: circular shift, remixing, layers, gain, pitch, scenes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from duetto.dsp.stft import STFT
from duetto.training.config import MixingConfig
from duetto.training.data.augment import decibels, happens, rms
from duetto.training.data.scene import SceneMaker

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """One recording in memory: waveforms of equal length, None for what it lacks."""

    vocals: Waveform | None
    """(1, n_samples)."""
    accompaniment: Waveform | None
    """(1 or 2, n_samples)."""
    odds: float = 1.0
    """How likely each of its seconds is to be drawn, against others."""


class _Pool:
    """Recordings of one source, each drawn by its length and its odds."""

    def __init__(self, tracks: Sequence[tuple[Waveform, float]]) -> None:
        self.recordings = [recording for recording, _ in tracks]
        odds = np.array([recording.shape[-1] * odds for recording, odds in tracks])
        self._odds = odds / odds.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """The number of a recording."""
        return int(rng.choice(len(self.recordings), p=self._odds))


class RandomMixer:
    """Draws batches of random excerpts; the batch of a step depends on the seed and the step alone."""

    def __init__(
        self, tracks: Sequence[Sources], config: MixingConfig, *, n_samples: int, sample_rate: int, seed: int
    ) -> None:
        self.config = config
        self.n_samples = n_samples
        self.seed = seed
        sung = [track for track in tracks if track.vocals is not None]
        self._voices = _Pool([(track.vocals, track.odds) for track in sung if track.vocals is not None])
        self._music = _Pool(
            [(track.accompaniment, track.odds) for track in tracks if track.accompaniment is not None]
        )
        self._own_music = [track.accompaniment for track in sung]
        self._scenes = SceneMaker(config.scene, sample_rate) if config.scene else None

    def batch(self, step: int, batch_size: int) -> Waveform:
        """Sources (batch_size, 2, n_channels, n_samples): vocals, then accompaniment."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._draw(rng) for _ in range(batch_size)])

    def _draw(self, rng: np.random.Generator) -> Waveform:
        config = self.config
        singer, other = self._voices.draw(rng), self._music.recordings[self._music.draw(rng)]
        vocals, own = self._voices.recordings[singer], self._own_music[singer]
        music = other if rng.random() < config.remix or own is None else own
        starts = rng.integers(0, [vocals.shape[-1], music.shape[-1]])
        music_start = starts[1] if config.circular_shift or music is not own else starts[0]
        gain = rng.uniform(-1, 1) * config.gain_db
        balance = rng.uniform(-1, 1) * config.balance_db
        speeds = 2 ** (rng.uniform(-1, 1, 2) * config.pitch_semitones / 12)
        voice = self._excerpt(vocals, starts[0], speeds[0])
        band = self._excerpt(music, music_start, speeds[1])
        voice, band = self._layered(voice, band, rng)
        if config.equal_level:
            voice, band = (source * np.float32(0.1 / max(rms(source), 1e-3)) for source in (voice, band))
        gains = np.array([gain + balance / 2, gain - balance / 2])
        if happens(config.no_vocals, rng):
            gains[0] = -np.inf
        elif happens(config.no_accompaniment, rng):
            gains[1] = -np.inf
        sources = np.stack([voice, band]) * (10 ** (gains / 20)).astype(np.float32)[:, None, None]
        return self._scenes.master(sources, rng) if self._scenes else sources.astype(np.float32, copy=False)

    def _layered(
        self, voice: Waveform, band: Waveform, rng: np.random.Generator
    ) -> tuple[Waveform, Waveform]:
        """More of the same over a voice and a band, and the scene of them; without scenes, in mono."""
        more_music = self._another(self._music, rng) if happens(self.config.second_music, rng) else None
        if not self._scenes:
            if more_music is not None:
                band = band + more_music * decibels(rng.uniform(-10, 0))
            return voice, band.mean(axis=0, keepdims=True)
        sing_along = happens(self._scenes.config.second_voice, rng)
        more_voice = self._another(self._voices, rng) if sing_along else None
        return self._scenes.voice(voice, more_voice, rng), self._scenes.music(band, more_music, rng)

    def _another(self, pool: _Pool, rng: np.random.Generator) -> Waveform:
        """An excerpt (n_channels, n_samples) of any recording."""
        recording = pool.recordings[pool.draw(rng)]
        speed = 2 ** (rng.uniform(-1, 1) * self.config.pitch_semitones / 12)
        return self._excerpt(recording, int(rng.integers(0, recording.shape[-1])), speed)

    def _excerpt(self, waveform: Waveform, start: int, speed: float) -> Waveform:
        """`n_samples` from `start`, round the end to the beginning, played at `speed`."""
        ratio = Fraction(speed).limit_denominator(24)  # short enough for a polyphase filter, 1 % off at most
        n_taken = math.ceil(self.n_samples * ratio) + 1
        taken = np.take(waveform, np.arange(start, start + n_taken), axis=-1, mode="wrap")
        played = resample_poly(taken, ratio.denominator, ratio.numerator, axis=-1) if ratio != 1 else taken
        return np.asarray(played[:, : self.n_samples], np.float32)


def fixed_excerpts(tracks: Sequence[Sources], stft: STFT, *, n_frames: int, shift_samples: int) -> Waveform:
    """The whole training set as excerpts of `n_frames` frames, the last of each track filled with zeros.

    With `shift_samples` each track comes again with its vocals rotated by every multiple of that many
    samples (Huang et al. 2014, section 4.2: one copy every 10 000 samples).

    Returns:
        Sources (n_excerpts, 2, 1, n_samples).
    """
    n_samples = stft.n_fft + (n_frames - 1) * stft.hop_length
    excerpts = []
    for track in tracks:
        if track.vocals is None or track.accompaniment is None:
            continue  # a solo recording is no mixture
        length = track.vocals.shape[-1]
        for shift in range(0, length, shift_samples or length):
            sources = np.concatenate([np.roll(track.vocals, shift), track.accompaniment])
            for start in range(0, max(1, length - stft.n_fft + 1), n_frames * stft.hop_length):
                piece = sources[:, start : start + n_samples]
                excerpts.append(np.pad(piece, [(0, 0), (0, n_samples - piece.shape[1])]))
    return np.stack(excerpts)[:, :, None]
