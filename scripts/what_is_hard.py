"""Measures which effects of music production make a song harder to separate.

    python scripts/what_is_hard.py ../shared/data --band FOLDER [--model duetto --model mir1k]

Every held-out voice of `held_out.py` twice over music of the held-out kinds in turn, 12 s at most, the voice
1.5 dB below the music: first as a plain stereo scene, then with one effect of `duetto.training.data.scene` on
nearly everything, then with all of them, and at last without effects but quieter than released songs.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from duetto import Separator, si_sdr
from duetto.evaluation.tracks import TrackAudio
from duetto.training.config import SceneConfig
from held_out import MUSIC, PRODUCED, VOICES, mix, recordings

NOTHING = SceneConfig()
EFFECTS = (
    "widen", "equalise", "compress", "distort", "master", "reverberation", "echo",
    "double_tracking", "harmony", "pitch_correction",
)  # fmt: skip
BALANCE_DB = -1.5
"""About what the mixtures of pop songs have."""
LEVEL_DB = -17.0
"""Root mean square of the mixtures, against full scale."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--band", type=Path, required=True)
    parser.add_argument("--model", action="append")
    options = parser.parse_args()
    models = options.model or ["duetto"]
    separators = [Separator(model) for model in models]
    voices = recordings(options.data, "vocals", *VOICES)
    kinds = [recordings(options.data, "instrumental", pattern) for pattern in MUSIC.values()]
    kinds.append(sorted(options.band.glob("*.flac")))
    pairs = []
    for k, voice in enumerate(voices * 2):
        music = kinds[k % len(kinds)]
        pairs.append((voice, music[k // len(kinds) % len(music)]))
    scenes = {"nothing": NOTHING}
    scenes |= {effect: NOTHING.model_copy(update={effect: 1.0}) for effect in EFFECTS}
    scenes["all, as in held_out.py"] = PRODUCED
    scenes["all, a rhythm and a lead"] = PRODUCED.model_copy(update={"rhythm": 0.5, "lead": 0.3})
    rows = [(name, scene, LEVEL_DB) for name, scene in scenes.items()]
    rows += [(f"nothing, at {level} dB", NOTHING, level) for level in (-30.0, -40.0)]
    print(f"| {len(pairs)} mixtures with | {' | '.join(models)} |")
    print("|---|" + "---|" * len(models))
    for name, scene, level_db in rows:
        tracks = [at(level_db, mix(*pair, scene, k, BALANCE_DB)) for k, pair in enumerate(pairs)]
        means = [np.mean(list(map(partial(score, separator), tracks))) for separator in separators]
        print(f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} |", flush=True)


def at(level_db: float, track: TrackAudio) -> TrackAudio:
    """The same with a mixture of that root mean square."""
    gain = np.float32(10 ** (level_db / 20) / np.sqrt(np.mean(np.square(track.mixture))))
    return TrackAudio({name: source * gain for name, source in track.sources.items()}, track.sample_rate)


def score(separator: Separator, track: TrackAudio) -> float:
    """SI-SDR of the vocals."""
    stems = separator.separate(track.mixture, track.sample_rate)
    return si_sdr(track.sources["vocals"], stems["vocals"])


if __name__ == "__main__":
    main()
