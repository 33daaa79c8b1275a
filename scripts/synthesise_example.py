"""Synthesise the example song that ships with Duetto, from nothing but NumPy and one seed.

    python scripts/synthesise_example.py src/duetto/audio/example.flac [--stems FOLDER]

A voice that sings vowels over drums, bass and chords: E minor, C, G, D, and home to G; 96 beats a minute.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto.audio import save_audio

Signal = NDArray[np.float64]

SEED = 1
SAMPLE_RATE = 44100
PEAK = 0.5
BEAT = 60 / 96  # seconds
N_SAMPLES = round(18.6 * BEAT * SAMPLE_RATE)

# (start in beats, root of the bass, chord) as MIDI notes
CHORDS = (
    (0, 40, (55, 59, 64, 66)),  # Em(add9)
    (4, 36, (55, 60, 64, 67)),  # C
    (8, 43, (55, 59, 62, 67)),  # G
    (12, 38, (54, 57, 62, 69)),  # D
    (16, 43, (55, 59, 62, 67)),  # G
)
# (start in beats, length in beats, MIDI note, consonant, vowel); a rest is where no note is
MELODY = (
    (0.5, 0.5, 67, "s", "o"),
    (1.0, 0.5, 69, "t", "a"),
    (1.5, 1.5, 71, "", "e"),
    (3.0, 0.5, 69, "k", "i"),
    (3.5, 0.5, 67, "", "a"),
    (4.0, 1.9, 64, "s", "o"),
    (6.5, 0.5, 62, "t", "u"),
    (7.0, 0.5, 64, "", "a"),
    (7.5, 0.5, 67, "s", "e"),
    (8.0, 1.5, 71, "t", "a"),
    (9.5, 0.5, 74, "", "i"),
    (10.0, 1.0, 71, "k", "o"),
    (11.0, 0.8, 67, "", "u"),
    (12.0, 1.5, 69, "s", "a"),
    (13.5, 0.5, 67, "", "e"),
    (14.0, 1.0, 66, "t", "i"),
    (15.5, 0.5, 69, "k", "a"),
    (16.0, 1.9, 67, "", "o"),
)
BREATHS = (6.1, 15.1)  # beats
# Formant frequencies and bandwidths of a female voice, hertz
FORMANTS = {
    "a": ((850, 90), (1220, 110), (2810, 140), (3900, 250), (4900, 300)),
    "e": ((530, 70), (2000, 110), (2700, 150), (3900, 250), (4900, 300)),
    "i": ((330, 60), (2600, 110), (3200, 170), (4000, 250), (4900, 300)),
    "o": ((560, 80), (900, 100), (2750, 140), (3900, 250), (4900, 300)),
    "u": ((380, 70), (850, 90), (2700, 140), (3900, 250), (4900, 300)),
}
# Noise bands in hertz, length in seconds and level of the consonants
CONSONANTS = {"s": (5000, 9500, 0.10, 0.10), "t": (3000, 7500, 0.03, 0.14), "k": (1500, 3800, 0.04, 0.12)}


def hertz(midi: Signal | float) -> Signal:
    return 440 * 2 ** ((np.asarray(midi, np.float64) - 69) / 12)


def samples(beats: float) -> int:
    return round(beats * BEAT * SAMPLE_RATE)


def seconds(n_samples: int) -> Signal:
    return np.arange(n_samples) / SAMPLE_RATE


def add(track: Signal, beat: float, sound: Signal) -> None:
    """Add a sound to a track at a beat; what would sound beyond the track's end is cut."""
    start = samples(beat)
    sound = sound[..., : track.shape[-1] - start]
    track[..., start : start + sound.shape[-1]] += sound


def convolve(signal: Signal, response: Signal) -> Signal:
    """The full convolution along the last axis."""
    n_samples = signal.shape[-1] + response.shape[-1] - 1
    n_fft = 1 << (n_samples - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(signal, n_fft) * np.fft.rfft(response, n_fft), n_fft)[..., :n_samples]


def smooth(curves: Signal, width: float) -> Signal:
    """Curves (..., n_samples) without corners: their means over a Hann window of `width` seconds."""
    half = round(width * SAMPLE_RATE / 2)
    window = np.hanning(2 * half + 1)
    padded = np.pad(curves, [(0, 0)] * (curves.ndim - 1) + [(half, half)], mode="edge")
    return convolve(padded, window / window.sum())[..., 2 * half : -2 * half]


def band(noise: Signal, low: float, high: float) -> Signal:
    """Noise between two frequencies in hertz, with slopes of 12 dB per octave."""
    frequencies = np.maximum(np.fft.rfftfreq(noise.shape[-1], 1 / SAMPLE_RATE), 1)
    gain = 1 / np.sqrt((1 + (low / frequencies) ** 4) * (1 + (frequencies / high) ** 4))
    return np.fft.irfft(np.fft.rfft(noise) * gain, noise.shape[-1])


def reverb(signal: Signal, rng: np.random.Generator, *, wet: float) -> Signal:
    """A small room around a signal, stereo: noise that decays by 60 dB in half a second."""
    n_samples = round(0.5 * SAMPLE_RATE)
    response = rng.uniform(-1, 1, (2, n_samples)) * 10 ** (-3 * np.arange(n_samples) / n_samples)
    response = band(response, 250, 5000)
    response[:, : round(0.012 * SAMPLE_RATE)] = 0
    response *= wet / np.linalg.norm(response, axis=1, keepdims=True)
    return signal + convolve(signal, response)[:, : signal.shape[-1]]


def vocal_tract(frequency: Signal, formants: Signal) -> Signal:
    """Complex gain (n,) at `frequency` (n,) of resonators in a row, formants (n_formants, 2, n)."""
    gain = np.ones(len(frequency), np.complex128)
    for centre, bandwidth in formants:
        pole = np.pi * (2j * centre - bandwidth)
        s = 2j * np.pi * frequency
        gain *= abs(pole) ** 2 / ((s - pole) * (s - pole.conj()))
    return gain


def score_curves() -> tuple[Signal, Signal, Signal]:
    """Pitch in hertz (n,), level (n,) and formants (n_formants, 2, n) of the melody, without its vibrato."""
    pitch, level = np.full(N_SAMPLES, float(MELODY[0][2])), np.zeros(N_SAMPLES)
    formants = np.zeros((5, 2, N_SAMPLES))
    previous_end = 0
    for beat, length, midi, consonant, vowel in MELODY:
        start, end = samples(beat), samples(beat + length)
        # Singers form the vowel before the note begins, so a rest has the formants of the note after it.
        pitch[previous_end:] = midi
        formants[..., previous_end:] = np.array(FORMANTS[vowel])[..., None]
        level[start:end] = np.linspace(1, 0.75, end - start)
        if consonant:
            level[start : start + round(0.4 * CONSONANTS[consonant][2] * SAMPLE_RATE)] = 0
        previous_end = end
    return smooth(pitch, 0.09), smooth(level, 0.05), smooth(formants, 0.08)


def vibrato() -> Signal:
    """Semitones around the pitch; it sets in when a note has been held for an eighth of a second."""
    depth = np.zeros(N_SAMPLES)
    for beat, length, *_ in MELODY:
        depth[samples(beat) + round(0.12 * SAMPLE_RATE) : samples(beat + length)] = 0.5
    return smooth(depth, 0.25) * np.sin(2 * np.pi * 5.6 * seconds(N_SAMPLES))


def unsteady(rng: np.random.Generator, width: float) -> Signal:
    """What no singer holds still: noise of deviation 1 that changes over `width` seconds, (n_samples,)."""
    noise = smooth(rng.standard_normal(N_SAMPLES), width)
    return noise / noise.std()


def sing(rng: np.random.Generator) -> Signal:
    """The voice, (n_samples,): the harmonics of glottal pulses and some breath through the vocal tract."""
    midi, level, formants = score_curves()
    pitch = hertz(midi + vibrato() + 0.2 * unsteady(rng, 0.12) + 0.2 * unsteady(rng, 0.02))
    level = level * (1 + 0.25 * unsteady(rng, 0.06) + 0.2 * unsteady(rng, 0.015))
    phasor = np.exp(2j * np.pi * np.cumsum(pitch) / SAMPLE_RATE)
    # What the mouth does is slow: one gain every millisecond and a half is enough.
    at = np.arange(0, N_SAMPLES, 64)
    voice, harmonic = np.zeros(N_SAMPLES), np.ones(N_SAMPLES, np.complex128)
    power = np.zeros(len(at))
    for number in range(1, int(11000 / pitch.max()) + 1):
        harmonic *= phasor
        # Glottal pulses fall by 9 dB per octave in a bright voice, and the lips' radiation gives 6 dB back.
        gain = vocal_tract(number * pitch[at], formants[..., at]) / np.sqrt(number)
        power += abs(gain) ** 2
        voice += (np.interp(np.arange(N_SAMPLES), at, gain) * harmonic).real
    # Singers reduce most of the difference in level between open and closed vowels.
    voice *= level / np.interp(np.arange(N_SAMPLES), at, power) ** 0.4
    voice += 0.03 * np.sqrt(np.mean(voice**2)) * level * band(rng.standard_normal(N_SAMPLES), 1500, 9000)
    return voice / np.abs(voice).max()


def speak(rng: np.random.Generator) -> Signal:
    """The consonants before the notes and the breaths between the phrases, (n_samples,)."""
    track = np.zeros(N_SAMPLES)
    for beat, _, _, consonant, _ in MELODY:
        if consonant:
            low, high, length, level = CONSONANTS[consonant]
            noise = band(rng.standard_normal(round(length * SAMPLE_RATE)), low, high)
            # A hiss swells and fades; a stop bursts.
            shape = np.hanning(len(noise)) if consonant == "s" else np.linspace(1, 0, len(noise)) ** 2
            lead = 0.6 * length / BEAT
            add(track, beat - lead, level * shape * noise)
    for beat in BREATHS:
        noise = band(rng.standard_normal(round(0.22 * SAMPLE_RATE)), 900, 4500)
        add(track, beat, 0.03 * np.hanning(len(noise)) * noise)
    return track


def drum(kind: str, rng: np.random.Generator) -> Signal:
    """One stroke, (n_samples,)."""
    t = seconds(round({"kick": 0.3, "snare": 0.25, "hat": 0.06, "crash": 1.4}[kind] * SAMPLE_RATE))
    noise = rng.standard_normal(len(t))
    if kind == "kick":  # a sine that falls from 160 to 48 Hz
        return np.sin(2 * np.pi * (48 * t + 112 * 0.03 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.09)
    if kind == "snare":
        tone = np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.04)
        return 0.5 * tone + 0.35 * band(noise, 1200, 7000) * np.exp(-t / 0.06)
    decay, level = (0.014, 0.16) if kind == "hat" else (0.35, 0.12)
    return level * band(noise, 6500, 12000) * np.exp(-t / decay)


def play_drums(rng: np.random.Generator) -> Signal:
    """Four bars of drums and a last stroke, (2, n_samples)."""
    track = np.zeros((2, N_SAMPLES))
    strokes = [("kick", 16, 1.0), ("crash", 16, 1.0), ("crash", 0, 0.7)]
    for bar in range(0, 16, 4):
        strokes += [("kick", bar + beat, 1.0) for beat in (0, 1.5, 2)]
        strokes += [("snare", bar + beat, 0.9) for beat in (1, 3)]
        strokes += [("hat", bar + eighth / 2, 0.6 if eighth % 2 else 1.0) for eighth in range(8)]
    strokes += [("snare", beat, level) for beat, level in ((15.25, 0.4), (15.5, 0.6), (15.75, 0.8))]
    pan = {"kick": (1.0, 1.0), "snare": (1.0, 0.9), "hat": (0.6, 1.0), "crash": (1.0, 0.6)}
    for kind, beat, level in strokes:
        add(track, beat, level * np.outer(pan[kind], drum(kind, rng)))
    return track


def saw(midi: float, length: float, cutoff: float, *, offset: float = 0.0) -> Signal:
    """A sawtooth of `length` seconds, 12 dB per octave weaker above `cutoff` hertz, (n_samples,)."""
    pitch = float(hertz(midi))
    phase = np.arange(2048) / 2048
    numbers = np.arange(1, int(min(8 * cutoff, 16000) / pitch) + 1)
    gains = 1 / numbers / np.sqrt(1 + (numbers * pitch / cutoff) ** 4)
    period = gains @ np.sin(2 * np.pi * np.outer(numbers, phase))
    return np.interp(pitch * seconds(round(length * SAMPLE_RATE)) + offset, phase, period, period=1)


def faded(sound: Signal, attack: float, release: float) -> Signal:
    t = seconds(sound.shape[-1])
    return sound * np.clip(np.minimum(t / attack, (t[-1] - t) / release), 0, 1)


def play_bass() -> Signal:
    """The roots of the chords in eighths, (n_samples,)."""
    track = np.zeros(N_SAMPLES)
    for bar, root, _ in CHORDS:
        eighths = (0, 1, 2, 3, 4, 5, 6, 7) if bar < 16 else (0,)
        for eighth in eighths:
            length = 0.45 * BEAT if bar < 16 else 2 * BEAT
            note = saw(root + (12 if eighth in (3, 6) else 0), length, 350)
            note *= np.exp(-seconds(len(note)) / 0.6)
            add(track, bar + eighth / 2, faded(note, 0.005, 0.03))
    return track


def play_chords(rng: np.random.Generator) -> Signal:
    """A wide pad of detuned saws and a plucked arpeggio above it, (2, n_samples)."""
    track = np.zeros((2, N_SAMPLES))
    for bar, _, notes in CHORDS:
        length = (4 if bar < 16 else 2.4) * BEAT
        for midi in notes:
            pad = [saw(midi + cents / 100, length, 1100, offset=rng.uniform()) for cents in (-7, 7)]
            add(track, bar, 0.14 * faded(np.stack(pad), 0.03, 0.12))
        for eighth in range(8 if bar < 16 else 1):
            pluck = saw(notes[(0, 2, 1, 3, 2, 1, 3, 2)[eighth]] + 12, 0.5, 2600)
            pluck *= np.exp(-seconds(len(pluck)) / 0.12)
            add(track, bar + eighth / 2, 0.16 * np.outer((1.0, 0.35) if eighth % 2 else (0.35, 1.0), pluck))
    return track


def synthesise() -> dict[str, NDArray[np.float32]]:
    """The song's sources, equally loud, each (2, n_samples) in steps of 16 bits: their sum is exact."""
    rng = np.random.default_rng(SEED)
    voice = sing(rng) + speak(rng)
    vocals = reverb(np.stack([voice, voice]), rng, wet=0.12)
    music = play_drums(rng) + 0.35 * play_bass() + 0.8 * play_chords(rng)
    stems = {"vocals": vocals, "accompaniment": reverb(music, rng, wet=0.08)}
    fade = np.minimum(1, seconds(N_SAMPLES)[::-1] / 0.3)
    stems = {name: stem * fade / np.sqrt(np.mean(stem**2)) for name, stem in stems.items()}
    gain = PEAK / np.abs(sum(stems.values())).max()
    return {name: (np.round(gain * stem * 2**15) / 2**15).astype(np.float32) for name, stem in stems.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("song", type=Path, help="the FLAC file to write")
    parser.add_argument(
        "--stems", type=Path, metavar="FOLDER", help="write vocals and accompaniment there too"
    )
    arguments = parser.parse_args()
    stems = synthesise()
    save_audio(arguments.song, stems["vocals"] + stems["accompaniment"], SAMPLE_RATE, subtype="PCM_16")
    if arguments.stems:
        for name, stem in stems.items():
            save_audio(arguments.stems / f"{name}.flac", stem, SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
