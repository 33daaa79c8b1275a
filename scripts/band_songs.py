"""Songs of a band, as notes: drums, bass, guitars, keys and a lead, each with patterns of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Rng = np.random.Generator

SECONDS = 60
BEATS = 4
"""In a bar."""

# Programs of General MIDI, counted from 0; none that imitates voices.
KITS = (0, 0, 8, 16, 16, 24, 25, 32, 40)
BASSES = (32, 33, 33, 34, 34, 35, 36, 37, 38, 39)
STRUMMED = (24, 25, 25, 26, 27, 28)
KEYS = (0, 0, 1, 2, 4, 5, 7, 16, 17, 18, 19, 21, 48, 49, 50, 51, 61, 62, 63, 88, 89, 90, 92, 93, 94, 95)
PICKED = (6, 8, 9, 11, 12, 13, 24, 25, 26, 27, 45, 46, 80, 81, 82, 98, 99, 104, 108)
SOLOISTS = (22, 26, 27, 29, 30, 40, 41, 42, 56, 57, 59, 60, 64, 65, 66, 67, 68, 71, 72, 73, 75, 78, 79)
SYNTHESISERS = (80, 81, 82, 84, 86, 87, 110)

# Keys of its drum kits, then patterns of a bar of sixteen steps.
KICK, SNARE, CLOSED, OPEN, RIDE, CRASH, TOMS = 36, 38, 42, 46, 51, 49, (50, 48, 45, 43)
KICKS = (
    "x...x...x...x...",
    "x.....x.x.......",
    "x..x..x...x.....",
    "x.......x.x.....",
    "x......xx..x....",
    "x.x.x.x.x.x.x.x.",
)
SNARES = ("....x.......x...", "....x.......x..x", "........x.......", "....x..x.x..x...", "....x..x....x...")
HATS = ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "x...x...x...x...", "..x...x...x...x.", "x..xx.x.x..xx.x.")
GROOVES = (
    "x.x.x.x.x.x.x.x.",
    "x.....x.x.....x.",
    "x...x...x...x...",
    "x..x..x.x..x..x.",
    "x...............",
    "x.xx..x.x.xx..x.",
)
SUSTAINED, OFFBEAT = ("x.......x.......", "x...............", "x..............."), "..x...x...x...x."
STRUMS = (
    "x...x.x...x.x.x.",
    "x.x.x.x.x.x.x.x.",
    *SUSTAINED[:2],
    OFFBEAT,
    "x..x..x...x.x...",
    "xxxxxxxxxxxxxxxx",
)
CHORDED = (*SUSTAINED, OFFBEAT, STRUMS[0])

MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
PROGRESSIONS = (
    ((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)),
    ((9, MINOR), (5, MAJOR), (0, MAJOR), (7, MAJOR)),
    ((0, MAJOR), (5, MAJOR), (7, MAJOR), (5, MAJOR)),
    ((0, MAJOR), (9, MINOR), (5, MAJOR), (7, MAJOR)),
    ((0, MAJOR), (4, MINOR), (5, MAJOR), (5, MINOR)),
    ((2, MINOR), (7, MAJOR), (0, MAJOR), (9, MINOR)),
    ((0, MAJOR), (10, MAJOR), (5, MAJOR), (0, MAJOR)),
    ((9, MINOR), (2, MINOR), (4, MINOR), (9, MINOR)),
    ((9, MINOR), (7, MAJOR), (5, MAJOR), (4, MAJOR)),
    ((9, MINOR), (9, MINOR), (5, MAJOR), (7, MAJOR)),
    ((0, MAJOR), (0, MAJOR), (5, MAJOR), (0, MAJOR)),
)  # semitones of each bar's root above a major key, and its chord
SCALES = ((0, 2, 4, 7, 9), (0, 2, 4, 5, 7, 9, 11), (0, 3, 4, 7, 9, 10))
"""Of a lead, in semitones above the key."""


class Note(NamedTuple):
    """When and how long, in beats; MIDI pitch and velocity; a bend in semitones that dies away; a vibrato."""

    start: float
    length: float
    pitch: int
    velocity: int
    bend: float = 0.0
    vibrato: float = 0.0


@dataclass
class Part:
    """One player. A driven one goes through an amplifier of its own."""

    program: int
    is_drums: bool = False
    drive_db: float | None = None
    pan: int = 64
    volume: int = 100
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Song:
    """Parts at a tempo in beats a minute."""

    tempo: float
    parts: list[Part]


@dataclass(frozen=True)
class Passage:
    """Bars of one chord each: the semitone of its root, and its notes above it."""

    key: int
    chords: list[tuple[int, tuple[int, ...]]]


Player = Callable[[Part, Passage, Rng], Iterator[Note]]


def arrange(rng: Rng) -> Song:
    """A song of about SECONDS: verses and choruses of four bars, in each of which most players play."""
    tempo = float(rng.uniform(68, 176))
    n_sections = max(2, round(SECONDS * tempo / 60 / BEATS / 4))
    key = int(rng.integers(0, 12))
    verse, chorus = (
        Passage(key, [(key + root, chord) for root, chord in PROGRESSIONS[number]])
        for number in rng.choice(len(PROGRESSIONS), 2)
    )
    is_driven = rng.random() < 0.5
    players: dict[Player, tuple[float, list[Part]]] = {
        drums: (0.88, [Part(int(rng.choice(KITS)), is_drums=True)]),
        bass: (0.9, [Part(int(rng.choice(BASSES)), volume=110)]),
        strummed: (0.75, _guitars(is_driven, rng)),
        keys: (0.6, [_somewhere(KEYS, (40, 90), rng)]),
        picked: (0.4, [_somewhere(PICKED, (20, 108), rng)]),
        lead: (0.6, [_soloist(is_driven, rng)]),
    }
    hired = {play: parts for play, (share, parts) in players.items() if rng.random() < share}
    for play, part in [(play, part) for play, parts in hired.items() for part in parts]:
        seeds = [int(np.random.default_rng(rng.integers(2**32)).integers(2**32)) for _ in range(2)]
        for section in range(n_sections):
            if rng.random() < 0.85:
                is_chorus = section % 4 >= 2
                same_again = np.random.default_rng([seeds[is_chorus], section % 2])
                for note in play(part, chorus if is_chorus else verse, same_again):
                    start = max(0.0, note.start + section * 4 * BEATS)
                    part.notes.append(note._replace(start=start))
    return Song(tempo, [part for parts in hired.values() for part in parts])


def _guitars(is_driven: bool, rng: Rng) -> list[Part]:
    """One in the middle, or two at the sides."""
    program = int(rng.choice((26, 27, 27, 25))) if is_driven else int(rng.choice(STRUMMED))
    drive = float(rng.uniform(6, 36)) if is_driven else None
    pans = (15, 112) if rng.random() < 0.5 else (int(rng.integers(30, 98)),)
    return [Part(program, drive_db=drive, pan=pan) for pan in pans]


def _somewhere(programs: tuple[int, ...], pans: tuple[int, int], rng: Rng) -> Part:
    program = int(rng.choice(programs))
    return Part(program, pan=int(rng.integers(*pans)), volume=int(rng.integers(60, 105)))


def _soloist(is_driven: bool, rng: Rng) -> Part:
    program = int(rng.choice((*SOLOISTS, *SYNTHESISERS)))
    if program in (26, 27) or (is_driven and rng.random() < 0.4):
        return Part(int(rng.choice((26, 27))), drive_db=float(rng.uniform(10, 36)))
    return Part(program, pan=int(rng.integers(44, 84)), volume=int(rng.integers(75, 127)))


def drums(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    metal = int(rng.choice((CLOSED, CLOSED, OPEN, RIDE)))
    pattern = {KICK: rng.choice(KICKS), SNARE: rng.choice(SNARES), metal: rng.choice(HATS)}
    loud = {KICK: 115, SNARE: 110, metal: int(rng.integers(55, 100))}
    for bar in range(len(passage.chords)):
        fills = bar == len(passage.chords) - 1 and rng.random() < 0.5
        for drum, steps in pattern.items():
            for start, _ in _beats(steps, bar, rng):
                if not (fills and start >= bar * BEATS + 3):
                    yield _hit(start, 0.2, drum, loud[drum] + int(rng.integers(-14, 10)), rng)
        if fills:
            for number, tom in enumerate(TOMS):
                yield _hit(bar * BEATS + 3 + number / 4, 0.2, tom, int(rng.integers(90, 120)), rng)
    if rng.random() < 0.6:
        yield _hit(0.0, 1.0, CRASH, int(rng.integers(80, 115)), rng)


def bass(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    groove = rng.choice(GROOVES)
    wanders = rng.random() < 0.5
    for bar, (root, chord) in enumerate(passage.chords):
        for start, length in _beats(groove, bar, rng):
            above = int(rng.choice((0, 0, 0, 12, *chord))) if wanders else 0
            held = length * rng.uniform(0.5, 1)
            yield _hit(start, held, _near(root, 34) + above, int(rng.integers(85, 120)), rng)


def strummed(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    """Six strings, or power chords where an amplifier would make a thicket of them."""
    pattern, is_power = rng.choice(STRUMS), part.drive_db is not None and part.drive_db > 15
    is_short = rng.random() < 0.3
    for bar, (root, chord) in enumerate(passage.chords):
        tones = (0, 7, 12) if is_power else (0, 7, 12, 12 + chord[1], 19, 24)
        for start, length in _beats(pattern, bar, rng):
            velocity = int(rng.integers(70, 112))
            held = 0.15 if is_short else length * 0.97
            for number, tone in enumerate(tones if start % 2 == 0 or rng.random() < 0.6 else tones[:3]):
                yield _hit(start + number * 0.012, held, _near(root, 43) + tone, velocity, rng)


def keys(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    pattern = rng.choice(CHORDED)
    adds_seventh, middle = rng.random() < 0.25, int(rng.integers(48, 66))
    for bar, (root, chord) in enumerate(passage.chords):
        tones = (*chord, 10 if chord == MINOR else 11) if adds_seventh else chord
        for start, length in _beats(pattern, bar, rng):
            for tone in tones:
                pitch = _near(root + tone, middle)
                yield _hit(start, length * 0.97, pitch, int(rng.integers(60, 100)), rng)


def picked(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    order, every, middle = rng.permutation(4), int(rng.choice((1, 2, 2))), int(rng.integers(50, 72))
    for bar, (root, chord) in enumerate(passage.chords):
        for number, step in enumerate(range(0, 16, every)):
            pitch = _near(root, middle) + (*chord, 12)[order[number % 4]]
            yield _hit(bar * BEATS + step / 4, every / 4 * 1.5, pitch, int(rng.integers(60, 105)), rng)


def lead(part: Part, passage: Passage, rng: Rng) -> Iterator[Note]:
    """A melody with rests, whose notes are slid into and swing."""
    scale = SCALES[rng.integers(len(SCALES))]
    degree, middle = int(rng.integers(0, len(scale))), int(rng.integers(55, 76))
    pace = float(rng.choice((0.25, 0.5, 0.5, 1.0)))
    bends, swings = rng.uniform(0, 0.6), rng.uniform(0, 0.5)
    beat, end = float(rng.choice((0, 0, 1, 2))), len(passage.chords) * BEATS
    while beat < end:
        length = min(pace * float(rng.choice((1, 1, 2, 3, 4, 6))), end - beat)
        if rng.random() < 0.85:
            octave, step = divmod(degree, len(scale))
            pitch = int(np.clip(_near(passage.key, middle) + 12 * octave + scale[step], 40, 96))
            bend = float(rng.choice((-2, -1, -1, -0.5, 1))) if rng.random() < bends else 0.0
            vibrato = swings if length > 0.8 else 0.0
            yield Note(beat, length * 0.95, pitch, int(rng.integers(75, 120)), bend, vibrato)
        beat += length
        degree = int(np.clip(degree + rng.choice((-2, -1, -1, 0, 1, 1, 2, 3)), -4, 8))


def _beats(pattern: str, bar: int, rng: Rng) -> list[tuple[float, float]]:
    """The hits of a pattern, a few of them left out, and the beats until the next one."""
    hits = [step for step, mark in enumerate(pattern) if mark == "x"]
    kept = [step for step in hits if rng.random() > 0.06] or hits[:1]
    ends = [*kept[1:], 16]
    return [(bar * BEATS + step / 4, (end - step) / 4) for step, end in zip(kept, ends, strict=True)]


def _near(pitch_class: int, pitch: int) -> int:
    """The note of this name within an octave above `pitch`."""
    return pitch + (pitch_class - pitch) % 12


def _hit(start: float, length: float, pitch: int, velocity: int, rng: Rng) -> Note:
    """A note as hands play it."""
    return Note(start + rng.normal(0, 0.012), max(length, 0.05), pitch, int(np.clip(velocity, 1, 127)))
