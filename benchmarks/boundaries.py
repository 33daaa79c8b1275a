"""Shows how far a song separated in chunks is from one pass over the whole.

Usage: python benchmarks/boundaries.py ../shared/data [--model duetto]

Real voices over real music, two minutes each, in stereo: the difference of the vocals in dB of the song, by
length of a chunk.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto import Separator, load_audio

MUSIC = (
    "lincity-ng-001", "lincity-ng-002", "opensurge-013", "beatgame-001", "beatgame-012", "super_tux_party-007"
)  # fmt: skip
SECONDS = 120
LENGTHS = (10.24, 15.36, 20.48)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="duetto")
    options = parser.parse_args()
    print("| music | " + " | ".join(f"{length} s" for length in LENGTHS) + " |")
    print("|" + (len(LENGTHS) + 1) * "---|")
    voices = [*(options.data / "vocals").glob("csd*.opus"), *(options.data / "vocals").glob("vocadito*.opus")]
    voice = np.concatenate([load_audio(path)[0].mean(axis=0) for path in sorted(voices)[:12]])
    for name in MUSIC:
        music, rate = load_audio(options.data / "instrumental" / f"{name}.opus")
        music = np.broadcast_to(music[:, : SECONDS * rate], (2, min(music.shape[1], SECONDS * rate)))
        sung = np.resize(voice, music.shape[1])
        song = (music + sung * (rms(music) / rms(sung))).astype(np.float32) / 2
        whole = Separator(options.model, segment_seconds=SECONDS + 10).separate(song, rate)["vocals"]
        cells = []
        for length in LENGTHS:
            separator = Separator(options.model, segment_seconds=length)
            difference = separator.separate(song, rate)["vocals"] - whole
            cells.append(f"{20 * np.log10(rms(difference) / rms(song)):.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def rms(waveform: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(waveform, dtype=float).mean()))


if __name__ == "__main__":
    main()
