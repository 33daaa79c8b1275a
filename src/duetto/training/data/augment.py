"""What studios and rooms do to a recording; every effect draws its own settings.

Waveforms are (n_channels, n_samples), at `sample_rate` hertz; none is modified, none changes its length.
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

Waveform = NDArray[np.float32]
Rng = np.random.Generator

_WIDEST_SECONDS = 0.03
"""Delays up to so long are heard as width, not as an echo."""


def decibels(ratio: float) -> float:
    """The amplitude ratio of so many decibels."""
    return float(10 ** (ratio / 20))


def happens(share: float, rng: Rng) -> bool:
    """Whether this is one of the cases of that share; nothing is drawn for what never happens."""
    return share > 0 and rng.random() < share


def equalise(waveform: Waveform, sample_rate: int, rng: Rng, most_db: float = 8.0) -> Waveform:
    """Bend the spectrum by a curve through random gains, about one for each octave above 60 Hz."""
    n_samples = waveform.shape[-1]
    n_fft = next_fast_len(n_samples, real=True)
    places = np.geomspace(60, sample_rate / 2, 8)
    gains_db = np.clip(rng.normal(0, most_db / 3, places.size), -most_db, most_db)
    frequencies = np.maximum(rfftfreq(n_fft, 1 / sample_rate), 1)
    curve = 10 ** (np.interp(np.log(frequencies), np.log(places), gains_db) / 20)
    return irfft(rfft(waveform, n_fft) * curve.astype(np.float32), n_fft)[..., :n_samples]


def move_formants(waveform: Waveform, sample_rate: int, rng: Rng, most: float = 0.18) -> Waveform:
    """Sing as another throat would: the spectral envelope is stretched by up to `most`, the pitch is kept."""
    n_fft = 2 ** round(np.log2(0.032 * sample_rate))
    stft = ShortTimeFFT(hann(n_fft, sym=False), n_fft // 2, sample_rate)
    n_quefrencies = int(0.0018 * sample_rate)  # what is slower along frequency than the harmonics of 550 Hz
    bins = np.arange(n_fft // 2 + 1)
    places = np.minimum(bins / (1 + rng.uniform(-most, most)), n_fft // 2)
    moved = np.empty_like(waveform)
    for channel, samples in enumerate(waveform):
        spectrum = stft.stft(np.pad(samples, (0, n_fft)))  # it refuses what is shorter than its window
        magnitude = np.abs(spectrum).astype(np.float32)
        cepstrum = irfft(np.log(magnitude + 1e-5 * magnitude.max() + 1e-9), axis=0)
        cepstrum[n_quefrencies:-n_quefrencies] = 0
        envelope = rfft(cepstrum, axis=0).real
        below = places.astype(int)
        share = (places - below)[:, None]
        stretched = envelope[below] * (1 - share) + envelope[np.minimum(below + 1, n_fft // 2)] * share
        gain = np.exp(np.clip(stretched - envelope, -3, 3))
        moved[channel] = stft.istft(spectrum * gain)[: samples.size]
    return moved


def vibrate(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Let the pitch swing by 10 to 80 cents, 4 to 8 times a second, more or less from moment to moment."""
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


def tune(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Bring the pitch of a single voice to the nearest semitones, within 5 to 80 ms, as pop songs have it."""
    hop, n_window = round(0.01 * sample_rate), round(0.05 * sample_rate)
    n_samples = waveform.shape[-1]
    padded = np.pad(waveform.mean(axis=0), (n_window // 2, n_window))
    frames = sliding_window_view(padded, n_window)[: n_samples + hop : hop]
    semitones, sounds = _pitch(frames, sample_rate)
    correction = np.where(sounds, np.round(semitones) - semitones, 0)
    n_memory = max(1, round(rng.uniform(0.005, 0.08) * sample_rate / hop))
    correction = uniform_filter1d(correction, n_memory) * rng.uniform(0.6, 1)
    now = np.arange(n_samples)
    times = np.cumsum(2 ** (-np.interp(now, hop * np.arange(len(frames)), correction) / 12))
    times = (times - times[0]) * ((n_samples - 1) / max(times[-1] - times[0], 1e-9))  # as long as before
    places = np.interp(now, times, now)
    return np.stack(
        [map_coordinates(samples, places[None], order=3, mode="nearest") for samples in waveform]
    ).astype(np.float32, copy=False)


def _pitch(frames: Waveform, sample_rate: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Semitones from 440 Hz, octaves uncertain, and whether there is a pitch: (n_frames,) each.

    From the largest autocorrelation of frames (n_frames, n_samples) between 80 and 1000 Hz.
    """
    n_samples = frames.shape[-1]
    window = hann(n_samples, sym=False).astype(np.float32)
    n_fft = next_fast_len(2 * n_samples, real=True)
    own, shape = (
        irfft(np.abs(rfft(each, n_fft)) ** 2, n_fft)[:, : sample_rate // 80 + 2]
        for each in (frames * window, window[None])
    )
    likeness = own / shape / np.maximum(own[:, :1] / shape[:, :1], 1e-9)
    shortest = sample_rate // 1000
    liked = likeness[:, shortest:-1] * np.linspace(1, 0.9, likeness.shape[1] - shortest - 1)
    lags = shortest + liked.argmax(1)  # rather the shorter of those that are nearly as good
    before, at, after = (np.take_along_axis(likeness, lags[:, None] + step, 1)[:, 0] for step in (-1, 0, 1))
    bend = np.minimum(before - 2 * at + after, -1e-9)
    exact = lags + np.clip((before - after) / (2 * bend), -0.5, 0.5)
    return 12 * np.log2(sample_rate / exact / 440), at > 0.6


def place(mono: Waveform, rng: Rng, most: float) -> Waveform:
    """Pan (1, n_samples) to a place up to `most` (1: one side alone) from the middle, at constant power."""
    angle = (1 + rng.uniform(-most, most)) * np.pi / 4
    gains = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2)
    return mono * gains.astype(np.float32)


def widen(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Add a copy to the left and take it from the right, delayed: as wide as its sum to mono is unharmed."""
    delay = int(rng.uniform(0.002, _WIDEST_SECONDS) * sample_rate)
    mono = waveform.mean(axis=0)
    side = np.zeros_like(mono)
    side[delay:] = mono[:-delay]
    side = equalise(side[None], sample_rate, rng)[0] * np.float32(rng.uniform(0.2, 0.9))
    return np.stack([waveform[0] + side, waveform[-1] - side])


def reverberate(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Set it in a room: noise that decays by 60 dB in 0.2 to 2.5 s, other for each ear, dull at the end."""
    n_samples = waveform.shape[-1]
    seconds = float(np.exp(rng.uniform(np.log(0.2), np.log(2.5))))
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    tails = rng.standard_normal((2, times.size), np.float32) * (10 ** (-3 * times / seconds)).astype(
        np.float32
    )
    dull = int(rng.uniform(1, 6))
    tails = fftconvolve(tails, np.full((1, dull), 1 / dull, np.float32), mode="same", axes=-1)
    early = int(rng.uniform(0, _WIDEST_SECONDS) * sample_rate)
    tails = np.pad(tails, [(0, 0), (early, 0)])
    wet = fftconvolve(waveform.mean(axis=0, keepdims=True), tails, axes=-1)[:, :n_samples]
    level = decibels(rng.uniform(-20, -3)) * rms(waveform) / max(rms(wet), 1e-9)
    return waveform + wet * np.float32(level)


def compress(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Make what is loud softer, 2 to 8 to 1 above its mean level, and as loud as before on the whole."""
    gain = compressor_gain(waveform, sample_rate, rng)
    pressed = waveform * gain
    return pressed * np.float32(rms(waveform) / max(rms(pressed), 1e-9))


def compressor_gain(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """The gain (n_samples,) of a compressor that listens to the waveform."""
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


def distort(waveform: Waveform, rng: Rng) -> Waveform:
    """Drive it into a soft limit, as amplifiers do."""
    scale = rms(waveform) * decibels(rng.uniform(-6, 12)) + 1e-6
    driven = np.tanh(waveform / np.float32(scale))
    return driven * np.float32(rms(waveform) / max(rms(driven), 1e-9))


def echo(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Repeat it, softer each time, every 0.1 to 0.5 s."""
    delay, fall = int(rng.uniform(0.1, 0.5) * sample_rate), np.float32(rng.uniform(0.1, 0.5))
    echoed, gain = waveform.copy(), fall
    for start in range(delay, waveform.shape[-1], delay):
        echoed[..., start:] += waveform[..., :-start] * gain
        gain *= fall
    return echoed


def double(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Sing it twice more at the sides: copies whose delay, and with it their pitch, wanders a little."""
    n_samples = waveform.shape[-1]
    mono, places = waveform.mean(axis=0), np.arange(n_samples)
    doubled = np.stack([waveform[0], waveform[-1]])
    for side in (0, 1):
        knots = np.arange(0, n_samples + sample_rate, sample_rate // 2)
        delays = rng.uniform(0.008, _WIDEST_SECONDS, knots.size) * sample_rate
        copy = np.interp(places - np.interp(places, knots, delays), places, mono, left=0)
        doubled[side] += np.float32(rng.uniform(0.3, 0.8)) * copy.astype(np.float32)
    return doubled


def transpose(mono: Waveform, semitones: float, sample_rate: int) -> Waveform:
    """Another pitch at the same pace: (1, n_samples), stretched by a phase vocoder and resampled.

    Laroche and Dolson, "Improved phase vocoder time-scale modification of audio", 1999: identity locking.
    """
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(24)
    n_fft = 2 ** round(np.log2(0.064 * sample_rate))
    hop = n_fft // 4
    stft = ShortTimeFFT(hann(n_fft, sym=False), hop, sample_rate)
    spectrum = stft.stft(np.pad(mono[0], (0, n_fft)))
    turns = np.angle(spectrum[:, 1:] * spectrum[:, :-1].conj())
    expected = 2 * np.pi * hop / n_fft * np.arange(n_fft // 2 + 1)[:, None]
    advance = expected + np.angle(np.exp(1j * (turns - expected)))
    places = np.arange(0, spectrum.shape[1] - 1, float(1 / ratio))
    before, share = places.astype(int), places % 1
    magnitude = np.abs(spectrum)
    magnitude = magnitude[:, before] * (1 - share) + magnitude[:, before + 1] * share
    phase = np.cumsum(np.hstack([np.angle(spectrum[:, :1]), advance[:, before[:-1]]]), axis=1)
    own = np.angle(spectrum[:, before])
    peaks = _nearest_peaks(magnitude)  # the bins of a partial stay in phase with it
    turned = np.take_along_axis(phase - own, peaks, axis=0)
    stretched = stft.istft(magnitude * np.exp(1j * (own + turned)))
    played = resample_poly(stretched, ratio.denominator, ratio.numerator)[: mono.shape[-1]]
    return np.pad(played, (0, mono.shape[-1] - played.size)).astype(np.float32)[None]


def _nearest_peaks(magnitude: NDArray[np.floating]) -> NDArray[np.intp]:
    """For each bin and frame (n_bins, n_frames) the bin of the local maximum that is nearest."""
    bins = np.arange(magnitude.shape[0])[:, None]
    is_peak = magnitude == maximum_filter1d(magnitude, 5, axis=0)
    below = np.maximum.accumulate(np.where(is_peak, bins, -magnitude.shape[0]), axis=0)
    above = np.minimum.accumulate(np.where(is_peak, bins, 2 * magnitude.shape[0])[::-1], axis=0)[::-1]
    return np.where(bins - below <= above - bins, below, above)


def pause(waveform: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """Leave out a passage, with fades of 20 ms."""
    n_samples = waveform.shape[-1]
    first, last = np.sort(rng.uniform(-0.3, 1.3, 2)) * n_samples
    fade = 0.02 * sample_rate
    places = np.arange(n_samples)
    inside = np.clip(np.minimum(places - first, last - places) / fade, 0, 1)
    return waveform * (1 - inside).astype(np.float32)


def limiter_gain(mixture: Waveform, rng: Rng) -> Waveform:
    """The gain (n_channels, n_samples) of a loud master: the mixture driven into a hard or soft ceiling."""
    ceiling = np.float32(max(1e-6, np.abs(mixture).max()) * decibels(-rng.uniform(1, 10)))
    pressed = (
        np.clip(mixture, -ceiling, ceiling) if rng.random() < 0.5 else ceiling * np.tanh(mixture / ceiling)
    )
    return np.divide(pressed, mixture, out=np.ones_like(mixture), where=np.abs(mixture) > 1e-6)


def coding_error(mixture: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """What lossy coding (Ogg Opus at some of its rates) adds to the mixture."""
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
