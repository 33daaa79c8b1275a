"""Data augmentation with the effects of music production; every effect draws its own settings.

Waveforms are (n_channels, n_samples), at `sample_rate` hertz; effects return a new one of equal length.
"""

import io
from fractions import Fraction

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import map_coordinates, maximum_filter1d, uniform_filter1d
from scipy.signal import ShortTimeFFT, fftconvolve, resample_poly
from scipy.signal.windows import hann

from duetto.evaluation.tracks import Waveform

Rng = np.random.Generator

_LONGEST_DELAY_SECONDS = 0.03
"""Longer delays are perceived as an echo."""


def decibels(gain_db: float) -> float:
    """The amplitude ratio of a gain in decibels."""
    return float(10 ** (gain_db / 20))


def happens(probability: float, rng: Rng) -> bool:
    """Whether an event of that probability happens; nothing is drawn where it is 0."""
    return probability > 0 and rng.random() < probability


def equalise(waveform: Waveform, sample_rate: int, rng: Rng, most_db: float = 8.0) -> Waveform:
    """Filter by a smooth curve through random gains, about one for each octave above 60 Hz."""
    n_samples = waveform.shape[-1]
    n_fft = next_fast_len(n_samples, real=True)
    places = np.geomspace(60, sample_rate / 2, 8)
    gains_db = np.clip(rng.normal(0, most_db / 3, places.size), -most_db, most_db)
    frequencies = np.maximum(rfftfreq(n_fft, 1 / sample_rate), 1)
    curve = 10 ** (np.interp(np.log(frequencies), np.log(places), gains_db) / 20)
    return irfft(rfft(waveform, n_fft) * curve.astype(np.float32), n_fft)[..., :n_samples]


def brighten(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Raise the treble by up to 10 dB at the same overall level."""
    bright = tilt(waveform, sample_rate, rng.uniform(0, 10))
    return bright * np.float32(rms(waveform) / max(rms(bright), 1e-9))


def resonate(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Raise a band between 600 and 1800 Hz by 6 to 16 dB at the same overall level, as belted notes have it.

    Singers tune a resonance of the vocal tract to a harmonic of high notes, which is then stronger than the
    fundamental (Sundberg, "The Science of the Singing Voice", 1987).
    """
    n_samples = waveform.shape[-1]
    n_fft = next_fast_len(n_samples, real=True)
    frequencies = np.maximum(rfftfreq(n_fft, 1 / sample_rate), 1)
    octaves = np.log2(frequencies / (600 * 3 ** rng.random()))
    gain_db = rng.uniform(6, 16) * np.exp(-0.5 * (octaves / rng.uniform(0.2, 0.5)) ** 2)
    curve = (10 ** (gain_db / 20)).astype(np.float32)
    resonant = irfft(rfft(waveform, n_fft) * curve, n_fft)[..., :n_samples]
    return resonant * np.float32(rms(waveform) / max(rms(resonant), 1e-9))


def tilt(waveform: Waveform, sample_rate: int, gain_db: float) -> Waveform:
    """Raise frequencies above 3 kHz by a gain relative to those below 300 Hz."""
    n_samples = waveform.shape[-1]
    n_fft = next_fast_len(n_samples, real=True)
    frequencies = np.maximum(rfftfreq(n_fft, 1 / sample_rate), 1)
    curve = 10 ** (gain_db * np.interp(np.log(frequencies), np.log([300, 3000]), [-0.5, 0.5]) / 20)
    return irfft(rfft(waveform, n_fft) * curve.astype(np.float32), n_fft)[..., :n_samples]


def shift_formants(waveform: Waveform, sample_rate: int, rng: Rng, most: float = 0.18) -> Waveform:
    """Shift the formants: the spectral envelope is stretched by up to `most`, and the pitch is kept."""
    n_fft = 2 ** round(np.log2(0.032 * sample_rate))
    stft = ShortTimeFFT(hann(n_fft, sym=False), n_fft // 2, sample_rate)
    n_quefrencies = int(0.0018 * sample_rate)  # coarser along frequency than the harmonics of 550 Hz
    bins = np.arange(n_fft // 2 + 1)
    places = np.minimum(bins / (1 + rng.uniform(-most, most)), n_fft // 2)
    moved = np.empty_like(waveform)
    for channel, samples in enumerate(waveform):
        spectrum = stft.stft(np.pad(samples, (0, n_fft)))  # it refuses signals shorter than its window
        magnitude = np.abs(spectrum).astype(np.float32)
        cepstrum = irfft(np.log(magnitude + 1e-5 * magnitude.max() + 1e-9), axis=0)
        cepstrum[n_quefrencies:-n_quefrencies] = 0
        envelope = rfft(cepstrum, axis=0).real
        below = places.astype(int)
        fraction = (places - below)[:, None]
        stretched = envelope[below] * (1 - fraction) + envelope[np.minimum(below + 1, n_fft // 2)] * fraction
        gain = np.exp(np.clip(stretched - envelope, -3, 3))
        moved[channel] = stft.istft(spectrum * gain)[: samples.size]
    return moved


def add_vibrato(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Vibrato of 10 to 80 cents at 4 to 8 Hz, of varying depth."""
    n_samples = waveform.shape[-1]
    seconds = np.arange(n_samples) / sample_rate
    speed = rng.uniform(4, 8)
    depth = (2 ** (rng.uniform(10, 80) / 1200) - 1) / (2 * np.pi * speed)
    knots = np.arange(0, seconds[-1] + 0.5, 0.5)
    depths = np.interp(seconds, knots, depth * rng.uniform(0, 1, knots.size))
    places = (seconds + depths * np.sin(2 * np.pi * speed * seconds + rng.uniform(0, 6))) * sample_rate
    return np.stack(
        [map_coordinates(samples, places[None], order=3, mode="nearest") for samples in waveform]
    ).astype(np.float32, copy=False)


def correct_pitch(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Pitch correction of a single voice to the nearest semitones, within 5 to 80 ms."""
    hop, n_window = round(0.01 * sample_rate), round(0.05 * sample_rate)
    n_samples = waveform.shape[-1]
    padded = np.pad(waveform.mean(axis=0), (n_window // 2, n_window))
    frames = sliding_window_view(padded, n_window)[: n_samples + hop : hop]
    semitones, voiced = _pitch(frames, sample_rate)
    correction = np.where(voiced, np.round(semitones) - semitones, 0)
    n_memory = max(1, round(rng.uniform(0.005, 0.08) * sample_rate / hop))
    correction = uniform_filter1d(correction, n_memory) * rng.uniform(0.6, 1)
    now = np.arange(n_samples)
    times = np.cumsum(2 ** (-np.interp(now, hop * np.arange(len(frames)), correction) / 12))
    times = (times - times[0]) * ((n_samples - 1) / max(times[-1] - times[0], 1e-9))  # of the same length
    places = np.interp(now, times, now)
    return np.stack(
        [map_coordinates(samples, places[None], order=3, mode="nearest") for samples in waveform]
    ).astype(np.float32, copy=False)


def _pitch(frames: Waveform, sample_rate: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Semitones from 440 Hz, up to octaves, and whether a frame is voiced: (n_frames,) each.

    They are those of the largest autocorrelation of frames (n_frames, n_samples) between 80 and 1000 Hz.
    """
    n_samples = frames.shape[-1]
    window = hann(n_samples, sym=False).astype(np.float32)
    n_fft = next_fast_len(2 * n_samples, real=True)
    own, shape = (
        irfft(np.abs(rfft(each, n_fft)) ** 2, n_fft)[:, : sample_rate // 80 + 2]
        for each in (frames * window, window[None])
    )
    correlation = own / shape / np.maximum(own[:, :1] / shape[:, :1], 1e-9)
    shortest = sample_rate // 1000
    weighted = correlation[:, shortest:-1] * np.linspace(1, 0.9, correlation.shape[1] - shortest - 1)
    lags = shortest + weighted.argmax(1)  # the weights prefer short lags among nearly equal ones
    before, at, after = (
        np.take_along_axis(correlation, lags[:, None] + step, 1)[:, 0] for step in (-1, 0, 1)
    )
    bend = np.minimum(before - 2 * at + after, -1e-9)
    exact = lags + np.clip((before - after) / (2 * bend), -0.5, 0.5)
    return 12 * np.log2(sample_rate / exact / 440), at > 0.6


def pan(mono: Waveform, rng: Rng, most: float) -> Waveform:
    """Pan (1, n_samples) by up to `most` (1 is hard left or right) from the middle, at constant power."""
    angle = (1 + rng.uniform(-most, most)) * np.pi / 4
    gains = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2)
    return mono * gains.astype(np.float32)


def widen(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Widen the stereo image by a delayed copy in the side channel, which cancels in the mono sum."""
    delay = int(rng.uniform(0.002, _LONGEST_DELAY_SECONDS) * sample_rate)
    mono = waveform.mean(axis=0)
    side = np.zeros_like(mono)
    side[delay:] = mono[:-delay]
    side = equalise(side[None], sample_rate, rng)[0] * np.float32(rng.uniform(0.2, 0.9))
    return np.stack([waveform[0] + side, waveform[-1] - side])


def reverberate(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Reverberation: low-passed noise that decays by 60 dB in 0.2 to 2.5 s, one for each channel."""
    n_samples = waveform.shape[-1]
    seconds = float(np.exp(rng.uniform(np.log(0.2), np.log(2.5))))
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    tails = rng.standard_normal((2, times.size), np.float32) * (10 ** (-3 * times / seconds)).astype(
        np.float32
    )
    n_smoothed = int(rng.uniform(1, 6))
    tails = fftconvolve(tails, np.full((1, n_smoothed), 1 / n_smoothed, np.float32), mode="same", axes=-1)
    pre_delay = int(rng.uniform(0, _LONGEST_DELAY_SECONDS) * sample_rate)
    tails = np.pad(tails, [(0, 0), (pre_delay, 0)])
    wet = fftconvolve(waveform.mean(axis=0, keepdims=True), tails, axes=-1)[:, :n_samples]
    level = decibels(rng.uniform(-20, -3)) * rms(waveform) / max(rms(wet), 1e-9)
    return waveform + wet * np.float32(level)


def compress(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Compress 2:1 to 8:1 above a threshold near the mean level, and restore the level."""
    gain = compressor_gain(waveform, sample_rate, rng)
    return _at_level_of(waveform, waveform * gain)


def compressor_gain(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """The gain (n_samples,) of a compressor with the waveform as its side chain."""
    step = max(1, int(0.005 * sample_rate))
    n_samples = waveform.shape[-1]
    power = np.pad(np.square(waveform).mean(axis=0), (0, -n_samples % step)).reshape(-1, step).mean(axis=1)
    n_memory = int(rng.uniform(4, 30))
    level = np.sqrt(np.convolve(power, np.full(n_memory, 1 / n_memory), mode="same") + 1e-12)
    threshold = decibels(rng.uniform(-6, 6)) * (rms(waveform) + 1e-6)
    slope = 1 / rng.uniform(2, 8) - 1
    gain = np.maximum(1, level / threshold) ** slope
    places = (np.arange(gain.size) + 0.5) * step
    return np.interp(np.arange(n_samples), places, gain).astype(np.float32)


def distort(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Soft clipping as by an overdriven amplifier; it is the same at every sample rate."""
    scale = rms(waveform) * decibels(rng.uniform(-6, 12)) + 1e-6
    return _at_level_of(waveform, np.tanh(waveform / np.float32(scale)))


def echo(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Echoes every 0.1 to 0.5 s, each quieter than the one before."""
    delay, decay = int(rng.uniform(0.1, 0.5) * sample_rate), np.float32(rng.uniform(0.1, 0.5))
    echoed, gain = waveform.copy(), decay
    for start in range(delay, waveform.shape[-1], delay):
        echoed[..., start:] += waveform[..., :-start] * gain
        gain *= decay
    return echoed


def double_track(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Double tracking: a copy at either side whose delay, and so its pitch, varies a little."""
    n_samples = waveform.shape[-1]
    mono, places = waveform.mean(axis=0), np.arange(n_samples)
    doubled = np.stack([waveform[0], waveform[-1]])
    for side in (0, 1):
        knots = np.arange(0, n_samples + sample_rate, sample_rate // 2)
        delays = rng.uniform(0.008, _LONGEST_DELAY_SECONDS, knots.size) * sample_rate
        copy = np.interp(places - np.interp(places, knots, delays), places, mono, left=0)
        doubled[side] += np.float32(rng.uniform(0.3, 0.8)) * copy.astype(np.float32)
    return doubled


def double_track_apart(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Two takes panned hard left and right, slightly out of time, with little or nothing in the middle."""
    n_samples = waveform.shape[-1]
    mono, places = waveform.mean(axis=0), np.arange(n_samples)
    sides = np.stack([mono, mono]) * np.float32(rng.choice((0.0, rng.uniform(0, 0.5))))
    knots = np.arange(0, n_samples + sample_rate, sample_rate // 2)
    far = rng.uniform(0.8, 1)
    for side in (0, 1):
        delays = rng.uniform(0, 1.5 * _LONGEST_DELAY_SECONDS, knots.size) * sample_rate
        take = np.interp(places - np.interp(places, knots, delays), places, mono, left=0).astype(np.float32)
        sides[side] += np.float32(far) * take
        sides[1 - side] += np.float32(1 - far) * take
    return sides


def transpose(mono: Waveform, semitones: float, sample_rate: int) -> Waveform:
    """Change the pitch of (1, n_samples) and keep its tempo, by a phase vocoder and resampling."""
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(24)
    stretched = _stretch(mono[0], float(ratio), sample_rate)
    played = resample_poly(stretched, ratio.denominator, ratio.numerator)[: mono.shape[-1]]
    return np.pad(played, (0, mono.shape[-1] - played.size)).astype(np.float32)[None]


def hold_note(mono: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """One note of the vocals (1, n_samples), held 3 to 8 times as long, and silence around it.

    It is the steadiest loud passage of 0.2 to 0.5 s in the first half, and begins where it is sung. Without a
    voiced passage all is silent. Added to the vocals, it is a voice that holds a note while another goes on.
    """
    n_samples = mono.shape[-1]
    hop, n_window = round(0.01 * sample_rate), round(0.05 * sample_rate)
    frames = sliding_window_view(np.pad(mono[0], (0, n_window)), n_window)[::hop]
    semitones, voiced = _pitch(frames, sample_rate)
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    n_held = min(len(frames), round(rng.uniform(0.2, 0.5) * sample_rate / hop))
    pitches = sliding_window_view(semitones, n_held)
    usable = sliding_window_view(voiced, n_held).all(axis=1) & (pitches.std(axis=1) < 1)
    usable[usable.size // 2 :] = False  # there has to be time to hold it
    if not usable.any():
        return np.zeros_like(mono)
    quality = sliding_window_view(level_db, n_held).min(axis=1) - 20 * pitches.std(axis=1)
    start = hop * int(np.where(usable, quality, -np.inf).argmax())
    held = _stretch(mono[0, start : start + n_held * hop], rng.uniform(3, 8), sample_rate)
    held = held[: n_samples - start]
    places = np.arange(held.size) / sample_rate
    fades = np.minimum(places / 0.03, (places[::-1] + 1 / sample_rate) / rng.uniform(0.05, 0.4))
    note = np.zeros_like(mono)
    note[0, start : start + held.size] = held * np.clip(fades, 0, 1)
    return note


def _stretch(samples: Waveform, factor: float, sample_rate: int) -> NDArray[np.floating]:
    """Make (n_samples,) longer by a factor and keep the pitch, by a phase vocoder; padding is left behind it.

    Laroche and Dolson, "Improved phase vocoder time-scale modification of audio", 1999: identity locking.
    """
    n_fft = 2 ** round(np.log2(0.064 * sample_rate))
    hop = n_fft // 4
    stft = ShortTimeFFT(hann(n_fft, sym=False), hop, sample_rate)
    spectrum = stft.stft(np.pad(samples, (0, 3 * n_fft)))  # its inverse refuses short signals
    turns = np.angle(spectrum[:, 1:] * spectrum[:, :-1].conj())
    expected = 2 * np.pi * hop / n_fft * np.arange(n_fft // 2 + 1)[:, None]
    advance = expected + np.angle(np.exp(1j * (turns - expected)))
    first = stft.p_min  # slices before the first sample
    n_slices = int((spectrum.shape[1] - 2 + first) * factor) - first
    places = np.maximum(0, (np.arange(n_slices) + first) / factor - first)
    before = places.astype(int)
    fraction = places - before
    magnitude = np.abs(spectrum)
    magnitude = magnitude[:, before] * (1 - fraction) + magnitude[:, before + 1] * fraction
    phase = np.cumsum(np.hstack([np.angle(spectrum[:, :1]), advance[:, before[:-1]]]), axis=1)
    own = np.angle(spectrum[:, before])
    peaks = _nearest_peaks(magnitude)  # the bins of a partial keep their phases relative to its peak
    turned = np.take_along_axis(phase - own, peaks, axis=0)
    return stft.istft(magnitude * np.exp(1j * (own + turned)))


def _nearest_peaks(magnitude: NDArray[np.floating]) -> NDArray[np.intp]:
    """The bin of the nearest local maximum, for each bin and frame (n_bins, n_frames)."""
    bins = np.arange(magnitude.shape[0])[:, None]
    is_peak = magnitude == maximum_filter1d(magnitude, 5, axis=0)
    below = np.maximum.accumulate(np.where(is_peak, bins, -magnitude.shape[0]), axis=0)
    above = np.minimum.accumulate(np.where(is_peak, bins, 2 * magnitude.shape[0])[::-1], axis=0)[::-1]
    return np.where(bins - below <= above - bins, below, above)


def pause(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Silence a passage, with fades of 20 ms."""
    n_samples = waveform.shape[-1]
    first, last = np.sort(rng.uniform(-0.3, 1.3, 2)) * n_samples
    fade = 0.02 * sample_rate
    places = np.arange(n_samples)
    inside = np.clip(np.minimum(places - first, last - places) / fade, 0, 1)
    return waveform * (1 - inside).astype(np.float32)


def limiter_gain(mixture: Waveform, rng: Rng) -> Waveform:
    """The gain (n_channels, n_samples) of hard or soft clipping 1 to 10 dB below the peak of the mixture."""
    ceiling = np.float32(max(1e-6, np.abs(mixture).max()) * decibels(-rng.uniform(1, 10)))
    hard = rng.random() < 0.5
    limited = np.clip(mixture, -ceiling, ceiling) if hard else ceiling * np.tanh(mixture / ceiling)
    return np.divide(limited, mixture, out=np.ones_like(mixture), where=np.abs(mixture) > 1e-6)


def coding_error(mixture: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """The error of lossy coding (Opus) of the mixture, at a random bit rate."""
    peak = max(1.0, float(np.abs(mixture).max()))
    with io.BytesIO() as file:
        soundfile.write(
            file, mixture.T / peak, sample_rate, format="OGG", subtype="OPUS",
            compression_level=float(rng.uniform(0.5, 1)),
        )  # fmt: skip
        file.seek(0)
        coded = soundfile.read(file, dtype="float32", always_2d=True)[0].T
    n_samples = min(coded.shape[-1], mixture.shape[-1])
    error = np.zeros_like(mixture)
    error[:, :n_samples] = coded[:, :n_samples] * peak - mixture[:, :n_samples]
    return error


def rms(waveform: Waveform) -> float:
    """The root mean square over all channels."""
    return float(np.sqrt(np.square(waveform).mean()))


def _at_level_of(waveform: Waveform, processed: Waveform) -> Waveform:
    return processed * np.float32(rms(waveform) / max(rms(processed), 1e-9))
