"""Songs of a band as notes: drawn alike from one seed, playable, in time and of one key."""

import runpy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.quick import first

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "band_songs.py"))
SEEDS = first(3, *range(12))


def song(seed: int) -> Any:
    return SCRIPT["arrange"](np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_song_can_be_played_and_lasts_a_minute(seed: int) -> None:
    played = song(seed)
    notes = [note for part in played.parts for note in part.notes]
    assert all(note.start >= 0 and note.length > 0 for note in notes)
    assert all(24 <= note.pitch <= 108 and 1 <= note.velocity <= 127 for note in notes)
    end = max(note.start + note.length for note in notes) * 60 / played.tempo
    assert 30 < end < 1.35 * SCRIPT["SECONDS"]
    assert len([part for part in played.parts if not part.is_drums]) <= 15  # channels of MIDI
    assert song(seed) == played
    assert song(seed + 100) != played


@pytest.mark.parametrize("seed", SEEDS)
def test_drums_come_on_sixteenths_as_nearly_as_hands_play(seed: int) -> None:
    for part in song(seed).parts:
        if part.is_drums:
            late = np.array([note.start * 4 - round(note.start * 4) for note in part.notes]) / 4
            assert 0.004 < late.std() < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lead_plays_one_note_at_a_time_of_one_scale(seed: int) -> None:
    passage = SCRIPT["Passage"](4, SCRIPT["PROGRESSIONS"][0])
    notes = list(SCRIPT["lead"](SCRIPT["Part"](65), passage, np.random.default_rng(seed)))
    assert all(note.start + note.length <= following.start for note, following in pairwise(notes))
    degrees = {(note.pitch - 4) % 12 for note in notes if 40 < note.pitch < 96}
    assert any(degrees <= set(scale) for scale in SCRIPT["SCALES"])


def test_no_instrument_imitates_voices() -> None:
    """Choirs and voices of General MIDI: 52 to 54, 85 and 91, counted from 0."""
    names = ("BASSES", "STRUMMED", "KEYS", "PICKED", "SOLOISTS", "SYNTHESISERS")
    assert not {52, 53, 54, 85, 91} & {program for name in names for program in SCRIPT[name]}
