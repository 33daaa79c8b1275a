"""Renders instrumental songs of a band (`band_songs`) with sampled instruments and guitar amplifiers.

    python scripts/render_band.py DATA/band --songs 77

The free music from which `duetto` learns holds little of what most songs stand on: driven guitars, a drum
kit, an electric bass, a solo over them. Needs the package mido, FluidSynth and its sound fonts, which are
under the MIT licence (Debian: fluidsynth, fluid-soundfont-gm, musescore-general-soundfont).
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from band_songs import SECONDS, Note, Part, Song, arrange
from duetto.audio import load_audio, save_audio

Waveform = NDArray[np.float32]
Rng = np.random.Generator
Event = tuple[float, mido.Message | mido.MetaMessage]
"""A beat and what happens on it."""

FONTS = (Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"), Path("/usr/share/sounds/sf3/MuseScore_General.sf3"))
SAMPLE_RATE = 44100
DRUMS = 9
"""The channel of General MIDI for them, counted from 0."""


def midi(parts: list[Part], tempo: float) -> mido.MidiFile:
    """The parts as a file of one track each."""
    file = mido.MidiFile()
    channels = iter([channel for channel in range(16) if channel != DRUMS])
    for part in parts:
        channel = DRUMS if part.is_drums else next(channels)
        events: list[Event] = [
            (0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo))),
            (0, mido.Message("program_change", channel=channel, program=part.program)),
            (0, mido.Message("control_change", channel=channel, control=7, value=part.volume)),
            (0, mido.Message("control_change", channel=channel, control=10, value=part.pan)),
        ]
        for note in part.notes:
            for kind, beat in (("note_on", note.start), ("note_off", note.start + note.length)):
                events.append(
                    (beat, mido.Message(kind, channel=channel, note=note.pitch, velocity=note.velocity))
                )
            if note.bend or note.vibrato:
                events += _bent(note, channel, tempo)
        track, before = mido.MidiTrack(), 0
        for beat, message in sorted(events, key=lambda event: event[0]):
            tick = round(beat * file.ticks_per_beat)
            track.append(message.copy(time=tick - before))
            before = tick
        file.tracks.append(track)
    return file


def _bent(note: Note, channel: int, tempo: float) -> list[Event]:
    """The pitch wheel, which turns by two semitones either way, from the slide into a note to its end."""
    beats = np.arange(0, note.length, 0.04)
    turns = 5.5 * beats * 60 / tempo
    swing = np.clip(beats - 0.4, 0, 1) * note.vibrato * np.sin(2 * np.pi * turns)
    wheel = np.clip((note.bend * np.exp(-beats / 0.12) + swing) / 2 * 8192, -8192, 8191)
    places = [*zip(note.start + beats, wheel, strict=True), (note.start + note.length, 0)]
    return [
        (float(beat), mido.Message("pitchwheel", channel=channel, pitch=int(pitch))) for beat, pitch in places
    ]


def render(file: mido.MidiFile, font: Path) -> Waveform:
    """What FluidSynth plays, (2, n_samples)."""
    with tempfile.TemporaryDirectory() as folder:
        score, played = Path(folder, "score.mid"), Path(folder, "played.wav")
        file.save(score)
        options = ["-ni", "-q", "-r", str(SAMPLE_RATE), "-g", "0.4"]
        subprocess.run(["fluidsynth", *options, "-F", played, font, score], check=True, capture_output=True)
        return load_audio(played)[0]


def amplify(guitar: Waveform, drive_db: float, rng: Rng) -> Waveform:
    """A guitar through a preamplifier that saturates and the loudspeaker of its cabinet."""
    tight = sosfilt(butter(2, rng.uniform(60, 250), "high", fs=SAMPLE_RATE, output="sos"), guitar)
    driven = tight / (np.sqrt(np.mean(tight**2)) + 1e-6) * 10 ** (drive_db / 20)
    offset = rng.uniform(0, 0.4)
    saturated = np.tanh(driven + offset) - np.tanh(offset)
    band = [rng.uniform(60, 110), rng.uniform(3500, 6000)]
    return np.asarray(sosfilt(butter(2, band, "band", fs=SAMPLE_RATE, output="sos"), saturated))


def mix(song: Song, font: Path, rng: Rng) -> Waveform:
    """The song (2, n_samples), with a peak of 0.7; driven guitars at -9 to 1 dB of the rest."""
    clean = [part for part in song.parts if part.drive_db is None]
    layers = [render(midi(clean, song.tempo), font)] if any(part.notes for part in clean) else []
    level = layers[0].std() if layers else 0.1
    for part in song.parts:
        if part.drive_db is not None and part.notes:
            guitar = amplify(render(midi([part], song.tempo), font).mean(axis=0), part.drive_db, rng)
            gain = level * 10 ** (rng.uniform(-9, 1) / 20) / (guitar.std() + 1e-9)
            angle = part.pan / 127 * np.pi / 2
            layers.append(np.outer([np.cos(angle), np.sin(angle)], guitar * gain * np.sqrt(2)))
    total = np.zeros((2, SECONDS * SAMPLE_RATE), np.float32)
    for layer in layers:
        n_samples = min(total.shape[1], layer.shape[1])
        total[:, :n_samples] += layer[:, :n_samples]
    return total * np.float32(0.7 / (np.abs(total).max() + 1e-9))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=77)
    parser.add_argument("--first", type=int, default=0, help="number of the first song")
    parser.add_argument("--fonts", type=Path, nargs="+", default=FONTS)
    arguments = parser.parse_args()
    if not shutil.which("fluidsynth"):
        parser.error("fluidsynth is not installed")
    if missing := [str(font) for font in arguments.fonts if not font.exists()]:
        parser.error(f"no sound font {', '.join(missing)}; install it or name others with --fonts")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.first, arguments.first + arguments.songs):
        target = arguments.folder / f"band-{number:03}.flac"
        if not target.exists():
            rng = np.random.default_rng([20, number])
            song = arrange(rng)
            save_audio(target, mix(song, arguments.fonts[number % len(arguments.fonts)], rng), SAMPLE_RATE)


if __name__ == "__main__":
    main()
