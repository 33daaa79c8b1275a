"""Stereo scenes from recordings: a voice, the music around it, and the master of both."""

import numpy as np
from numpy.typing import NDArray

from duetto.training.config import SceneConfig
from duetto.training.data import augment
from duetto.training.data.lead import lead
from duetto.training.data.rhythm import rhythm

Waveform = NDArray[np.float32]
Rng = np.random.Generator

INTERVALS = (-12, -5, -4, -3, 3, 4, 5, 7)
"""Semitones between a voice and the one that sings along."""


class SceneMaker:
    """Lets the effects of a scene happen, each with its share; mono becomes stereo."""

    def __init__(self, config: SceneConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate

    def voice(self, mono: Waveform, other: Waveform | None, rng: Rng) -> Waveform:
        """A voice (1, n_samples) in the middle or near it, and others further out."""
        voice = self._voice(mono, rng, most=0.1)
        others = [] if other is None else [other]
        if augment.happens(self.config.harmony, rng):
            others.append(augment.transpose(mono, float(rng.choice(INTERVALS)), self.sample_rate))
        for each in others:
            level = augment.decibels(rng.uniform(-12, 0)) * augment.rms(voice) / max(augment.rms(each), 1e-9)
            voice = voice + self._voice(each, rng, most=0.8) * np.float32(level)
        if augment.happens(self.config.pause, rng):
            voice = augment.pause(voice, self.sample_rate, rng)
        return voice

    def _voice(self, voice: Waveform, rng: Rng, most: float) -> Waveform:
        config, rate = self.config, self.sample_rate
        for share, effect in (
            (config.formants, augment.move_formants),
            (config.vibrato, augment.vibrate),
            (config.tune, augment.tune),
        ):
            if augment.happens(share, rng):
                voice = effect(voice, rate, rng)
        if augment.happens(config.distort / 2, rng):
            voice = augment.distort(voice, rng)
        if augment.happens(config.compress, rng):
            voice = augment.compress(voice, rate, rng)
        if augment.happens(config.equalise, rng):
            voice = augment.equalise(voice, rate, rng)
        voice = augment.place(voice, rng, most)
        if augment.happens(config.double, rng):
            voice = augment.double(voice, rate, rng)
        if augment.happens(config.widen / 5, rng):
            voice = augment.widen(voice, rate, rng)
        if augment.happens(config.echo, rng):
            voice = augment.echo(voice, rate, rng)
        if augment.happens(config.room, rng):
            voice = augment.reverberate(voice, rate, rng)
        return voice

    def music(self, recording: Waveform, other: Waveform | None, rng: Rng) -> Waveform:
        """Music (1 or 2, n_samples), and other music 0 to 10 dB below it; what is mono gets a place."""
        n_samples = recording.shape[-1]
        music = self._music(recording, rng)
        if other is not None:
            level = augment.decibels(rng.uniform(-10, 0)) * augment.rms(music) / max(augment.rms(other), 1e-9)
            music = music + self._music(other, rng) * np.float32(level)
        if augment.happens(self.config.rhythm, rng):
            level = augment.decibels(rng.uniform(-12, 3)) * augment.rms(music) / 0.1
            beat = rhythm(n_samples, self.sample_rate, rng)
            music = music + self._music(beat, rng) * np.float32(level)
        if augment.happens(self.config.lead, rng):
            level = augment.decibels(rng.uniform(-12, 3)) * augment.rms(music) / 0.1
            music = music + self._music(lead(n_samples, self.sample_rate, rng), rng) * np.float32(level)
        if augment.happens(self.config.pause / 2, rng):
            music = augment.pause(music, self.sample_rate, rng)
        return music

    def _music(self, music: Waveform, rng: Rng) -> Waveform:
        config, rate = self.config, self.sample_rate
        if augment.happens(config.distort, rng):
            music = augment.distort(music, rng)
        if augment.happens(config.equalise, rng):
            music = augment.equalise(music, rate, rng)
        if len(music) == 2:
            music = music[:: rng.choice((-1, 1))]
        else:
            music = augment.place(music, rng, most=0.9 if rng.random() < 0.3 else 0.2)
            if augment.happens(config.widen, rng):
                music = augment.widen(music, rate, rng)
        if augment.happens(config.room / 3, rng):
            music = augment.reverberate(music, rate, rng)
        return music

    def master(self, sources: Waveform, rng: Rng) -> Waveform:
        """Sources (2, 2, n_samples) after what was done to their sum, to which they still add up."""
        config, rate = self.config, self.sample_rate
        if augment.happens(config.mono, rng):
            sources = np.broadcast_to(sources.mean(1, keepdims=True), sources.shape)
        if augment.happens(config.master, rng):
            sources = sources * augment.compressor_gain(sources.sum(0), rate, rng)
            sources = sources * augment.limiter_gain(sources.sum(0), rng)
        if augment.happens(config.coding, rng):
            sources = sources.copy()
            sources[1] += augment.coding_error(sources.sum(0), rate, rng)
        return sources
