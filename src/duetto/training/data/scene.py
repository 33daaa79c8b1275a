"""Stereo scenes of recordings: vocals, accompaniment, and the mastering of their mixture."""

from collections.abc import Callable, Sequence

import numpy as np

from duetto.evaluation.tracks import Waveform
from duetto.training.config import SceneConfig
from duetto.training.data import augment
from duetto.training.data.augment import Rng, decibels, happens, rms
from duetto.training.data.harsh import roughen
from duetto.training.data.synthesis import lead, rhythm

Effect = Callable[[Waveform, int, Rng], Waveform]
"""A waveform (n_channels, n_samples), its sample rate in hertz and a generator to a waveform."""

N_GROUPS = 6
"""Groups of tracks in a mix of a band."""

HARMONY_SEMITONES = (-12, -5, -4, -3, 3, 4, 5, 7)


class SceneMaker:
    """Applies the effects of a scene to mono or stereo sources, each with its probability."""

    def __init__(self, config: SceneConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate

    def vocals(self, mono: Waveform, backing: Sequence[Waveform], rng: Rng) -> Waveform:
        """Place vocals (1, n_samples) near the middle, and harmonies and backing vocals further out."""
        first = self._voice(mono, rng, most_pan=0.1)
        others = list(backing)
        if happens(self.config.harmony, rng):
            for _ in range(1 + int(rng.integers(self.config.further_harmonies + 1))):
                semitones = float(rng.choice(HARMONY_SEMITONES))
                others.append(augment.transpose(mono, semitones, self.sample_rate))
        vocals = first
        for other in others:
            vocals = vocals + _relative(self._voice(other, rng, most_pan=0.8), first, (-12, 0), rng)
        if happens(self.config.held_note, rng):
            note = self._voice(augment.hold_note(mono, self.sample_rate, rng), rng, most_pan=0.5)
            vocals = vocals + _relative(note, first, (-9, 3), rng)
        return self._apply(vocals, rng, (self.config.pause, augment.pause))

    def _voice(self, voice: Waveform, rng: Rng, most_pan: float) -> Waveform:
        config = self.config
        voice = self._apply(
            voice,
            rng,
            (config.formant_shift, augment.shift_formants),
            (config.vibrato, augment.add_vibrato),
            (config.pitch_correction, augment.correct_pitch),
            (config.harsh, roughen),
            (config.bright, augment.brighten),
            (config.resonance, augment.resonate),
            (config.distort / 2, augment.distort),
            (config.compress, augment.compress),
            (config.equalise, augment.equalise),
        )
        if happens(config.double_tracking_apart, rng):
            stereo = augment.double_track_apart(voice, self.sample_rate, rng)
        else:
            stereo = augment.pan(voice, rng, most_pan)
        return self._apply(
            stereo,
            rng,
            (config.double_tracking, augment.double_track),
            (config.widen / 5, augment.widen),
            (config.echo, augment.echo),
            (config.reverberation, augment.reverberate),
        )

    def band(self, tracks: Sequence[Waveform], rng: Rng) -> Waveform:
        """Mix the tracks of a band, (1 or 2, n_samples) each, to (2, n_samples).

        There are `N_GROUPS` groups at most, each with a gain, an equaliser and a compressor of its own.
        """
        groups = np.zeros((N_GROUPS, 2, tracks[0].shape[-1]), np.float32)
        for number, index in enumerate(rng.permutation(len(tracks))):
            track, group = tracks[index], number if number < N_GROUPS else int(rng.integers(N_GROUPS))
            if len(track) == 1:
                track = augment.pan(track, rng, most=0.9 if rng.random() < 0.4 else 0.2)
            groups[group] += track
        band = np.zeros_like(groups[0])
        for group_mix in groups[: len(tracks)]:
            mixed = self._apply(
                group_mix,
                rng,
                (self.config.equalise, augment.equalise),
                (self.config.compress / 2, augment.compress),
            )
            band += mixed * np.float32(decibels(rng.uniform(-7, 5)))
        return band

    def music(self, recording: Waveform, others: Sequence[Waveform], rng: Rng) -> Waveform:
        """Make a stereo accompaniment of music (1 or 2, n_samples) and other music below it."""
        config, n_samples = self.config, recording.shape[-1]
        music = self._instruments(recording, rng)
        for other in others:
            music = _add(music, self._instruments(other, rng), (-10, 0), rng)
        for probability, synthesise in ((config.rhythm, rhythm), (config.lead, lead)):
            if happens(probability, rng):
                synthesised = synthesise(n_samples, self.sample_rate, rng)
                music = _add(music, self._instruments(synthesised, rng), (-12, 3), rng)
        return self._apply(music, rng, (config.pause / 2, augment.pause))

    def _instruments(self, music: Waveform, rng: Rng) -> Waveform:
        config = self.config
        music = self._apply(
            music, rng, (config.distort, augment.distort), (config.equalise, augment.equalise)
        )
        if len(music) == 2:
            music = music[:: rng.choice((-1, 1))]
        else:
            music = augment.pan(music, rng, most=0.9 if rng.random() < 0.3 else 0.2)
            music = self._apply(music, rng, (config.widen, augment.widen))
        return self._apply(music, rng, (config.reverberation / 3, augment.reverberate))

    def master(self, sources: Waveform, rng: Rng) -> Waveform:
        """Return sources (2, 2, n_samples) that sum to their mixture after mastering."""
        config, rate = self.config, self.sample_rate
        if happens(config.mono, rng):
            sources = np.broadcast_to(sources.mean(1, keepdims=True), sources.shape)
        if happens(config.master, rng):
            sources = sources * augment.compressor_gain(sources.sum(0), rate, rng)
            sources = sources * augment.limiter_gain(sources.sum(0), rng)
        if happens(config.lossy_coding, rng):
            sources = sources.copy()
            sources[1] += augment.coding_error(sources.sum(0), rate, rng)
        return sources

    def _apply(self, waveform: Waveform, rng: Rng, *effects: tuple[float, Effect]) -> Waveform:
        """Apply effects one after the other, each with its probability."""
        for probability, effect in effects:
            if happens(probability, rng):
                waveform = effect(waveform, self.sample_rate, rng)
        return waveform


def _add(waveform: Waveform, other: Waveform, range_db: tuple[float, float], rng: Rng) -> Waveform:
    """Add another waveform at a random level, in decibels relative to the first."""
    return waveform + _relative(other, waveform, range_db, rng)


def _relative(waveform: Waveform, other: Waveform, range_db: tuple[float, float], rng: Rng) -> Waveform:
    """A waveform at a random level, in decibels relative to another one."""
    level = decibels(rng.uniform(*range_db)) * rms(other) / max(rms(waveform), 1e-9)
    return waveform * np.float32(level)
