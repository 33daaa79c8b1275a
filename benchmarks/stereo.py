"""Measures which magnitude of a stereo song a network should get: of each channel, or of mid and side.

Usage: python benchmarks/stereo.py DATA [--model drnn] [--mixtures 16]

DATA is as for resolution_matched.py. The voice of a mixture stands in the middle, its music at four parts
left to one part right, the music of another mixture the other way round. Then the voice moves 6 dB left.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from duetto import Separator, si_sdr
from duetto.separation import frontend
from resolution_matched import RATE, mixtures

Magnitude = Callable[[NDArray[np.complex64]], NDArray[np.float32]]
NEIGHBOUR = 5  # whose music is on the other side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="drnn")
    parser.add_argument("--mixtures", type=int, default=16)
    options = parser.parse_args()
    separator = Separator(options.model)
    tracks = list(mixtures(options.data, options.mixtures))
    songs = {name: [stage(tracks, k, pan) for k in range(len(tracks))] for name, pan in PLACES.items()}
    print(f"| input of the network | {' | '.join(f'voice {name}' for name in songs)} |")
    print("|---|" + "---|" * len(songs))
    for name, magnitude in INPUTS.items():
        found = [[score(separator, magnitude, *song) for song in placed] for placed in songs.values()]
        cells = np.mean(found, axis=1)
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


def stage(tracks: list, k: int, pan: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A stereo mixture and its vocals, (2, n_samples)."""
    (mixture, vocals), (other, other_vocals) = tracks[k], tracks[(k + NEIGHBOUR) % len(tracks)]
    n_samples = min(vocals.shape[-1], other.shape[-1])
    near, far = (np.ravel(a - b)[:n_samples] for a, b in ((mixture, vocals), (other, other_vocals)))
    placed = pan[:, None] * np.ravel(vocals)[:n_samples]
    return placed + np.stack([0.8 * near + 0.2 * far, 0.2 * near + 0.8 * far]), placed


def score(
    separator: Separator,
    magnitude: Magnitude | None,
    mixture: NDArray[np.float32],
    vocals: NDArray[np.float32],
) -> float:
    if magnitude is None:
        return si_sdr(vocals, np.stack([separator.separate(channel, RATE)["vocals"] for channel in mixture]))
    with patch.object(frontend, "_magnitude", magnitude):
        return si_sdr(vocals, separator.separate(mixture, RATE)["vocals"])


def mid_and_side(weight: float) -> Magnitude:
    """The power of the mid, and a part of that of the side."""

    def magnitude(channels: NDArray[np.complex64]) -> NDArray[np.float32]:
        mid, side = np.abs(channels) ** 2
        return np.sqrt(mid + weight * side)

    return magnitude


PLACES = {"in the middle": np.float32([1, 1]), "6 dB left": np.float32([4 / 3, 2 / 3])}
INPUTS = {
    "each channel alone": None,
    "mid and side": mid_and_side(1),
    "mid and half of the side": mid_and_side(0.5),
    "mid and a tenth of the side (as shipped)": mid_and_side(0.1),
    "mid": mid_and_side(0),
}

if __name__ == "__main__":
    main()
