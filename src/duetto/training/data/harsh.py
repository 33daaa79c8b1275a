"""Harsh voices made of clean ones: shouts, growls, screams and whispers.

Waveforms are (n_channels, n_samples), at `sample_rate` hertz; none is modified, none changes its length.
"""

import numpy as np
from scipy.fft import irfft, rfft
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from duetto.evaluation.tracks import Waveform
from duetto.training.data.augment import Rng, decibels, rms, shift_formants, tilt


def roughen(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """One or more of the effects below, as loud as before."""
    level = rms(waveform)
    rough = waveform
    if rng.random() < 0.4:
        rough = shift_formants(rough, sample_rate, rng, most=0.35)
    chosen = rng.random(4) < (0.5, 0.5, 0.7, 0.35)
    if not chosen[:3].any():
        chosen[rng.integers(3)] = True
    if chosen[0]:
        rough = breathe(rough, sample_rate, rng)
    if chosen[1]:
        rough = flutter(rough, sample_rate, rng)
    if chosen[2]:
        rough = shout(rough, sample_rate, rng)
    if chosen[3]:
        rough = sustain(rough, sample_rate)
    return rough * np.float32(level / max(rms(rough), 1e-9))


def breathe(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Excite the spectral envelope with noise in place of the vocal folds, all or in part."""
    n_fft = 2 ** round(np.log2(0.032 * sample_rate))
    stft = ShortTimeFFT(hann(n_fft, sym=False), n_fft // 4, sample_rate)
    n_quefrencies = int(0.0018 * sample_rate)  # slower along frequency than the harmonics of 550 Hz
    share = rng.uniform(0.3, 1)
    noisy = np.empty_like(waveform)
    for channel, samples in enumerate(waveform):
        padded = np.pad(samples, (0, n_fft))
        magnitude = np.abs(stft.stft(padded)).astype(np.float32)
        cepstrum = irfft(np.log(magnitude + 1e-4 * magnitude.max() + 1e-9), axis=0)
        cepstrum[n_quefrencies:-n_quefrencies] = 0
        envelope = np.exp(rfft(cepstrum, axis=0).real)
        # one frame's loudness is kept, the 1e-4 above is inaudible in pauses
        envelope *= np.sqrt(
            np.square(magnitude).sum(0, keepdims=True) / (np.square(envelope).sum(0, keepdims=True) + 1e-12)
        )
        noise = stft.stft(rng.standard_normal(padded.size).astype(np.float32))
        noise /= np.sqrt(np.square(np.abs(noise)).mean())
        breath = stft.istft(envelope * noise)[: samples.size]
        noisy[channel] = np.sqrt(1 - share) * samples + np.sqrt(share) * breath
    return noisy


def flutter(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Modulate the loudness 30 to 90 times a second, irregularly, as the false vocal folds do in growls."""
    n_samples = waveform.shape[-1]
    seconds = n_samples / sample_rate
    knots = np.arange(0, seconds + 0.04, 0.02)
    speeds = rng.uniform(30, 90) * np.exp(rng.normal(0, rng.uniform(0.02, 0.25), knots.size))
    speed = np.interp(np.arange(n_samples) / sample_rate, knots, speeds)
    phase = 2 * np.pi * np.cumsum(speed) / sample_rate
    depth = rng.uniform(0.5, 1)
    sharp = rng.uniform(0.5, 3)  # a pulse rather than a sine
    beat = 1 - depth + depth * ((1 + np.cos(phase)) / 2) ** sharp
    return waveform * beat.astype(np.float32)


def shout(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Drive it hard, more on one side of zero, and lift what lies above 1 kHz."""
    drive = decibels(rng.uniform(6, 30)) / max(rms(waveform), 1e-6)
    lean = np.float32(rng.uniform(0, 0.6))
    driven = np.tanh(tilt(waveform, sample_rate, rng.uniform(0, 8)) * np.float32(drive) + lean)
    driven -= np.tanh(lean)
    return tilt(driven - driven.mean(axis=-1, keepdims=True), sample_rate, rng.uniform(-6, 8))


def sustain(waveform: Waveform, sample_rate: int) -> Waveform:
    """Even out the loudness within a phrase, as a scream holds it; what is silent stays silent."""
    n_memory = round(0.15 * sample_rate)
    power = np.square(waveform).mean(axis=0)
    level = np.sqrt(np.convolve(power, np.full(n_memory, 1 / n_memory, np.float32), mode="same"))
    loud = level.max()
    return waveform * (loud / np.maximum(level, 0.06 * loud + 1e-9)).astype(np.float32) ** np.float32(0.7)
