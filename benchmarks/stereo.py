"""Measures what the network should hear of a stereo song: each channel alone, or all of them in some sum.

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
from duetto.separation import frontend as room
from resolution_matched import RATE, mixtures

Listen = Callable[[NDArray[np.complex64]], NDArray[np.float32]]
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
    print(f"| the network hears | {' | '.join(f'voice {name}' for name in songs)} |")
    print("|---|" + "---|" * len(songs))
    for name, listen in LISTENS.items():
        cells = [np.mean([score(separator, listen, *song) for song in placed]) for placed in songs.values()]
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


def stage(tracks: list, k: int, pan: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A stereo mixture and its vocals, (2, n_samples)."""
    (mixture, vocals), (other, other_vocals) = tracks[k], tracks[(k + NEIGHBOUR) % len(tracks)]
    n_samples = min(vocals.shape[-1], other.shape[-1])
    near, far = (np.ravel(a - b)[:n_samples] for a, b in ((mixture, vocals), (other, other_vocals)))
    placed = pan[:, None] * np.ravel(vocals)[:n_samples]
    return placed + np.stack([0.8 * near + 0.2 * far, 0.2 * near + 0.8 * far]), placed


def score(
    separator: Separator, listen: Listen | None, mixture: NDArray[np.float32], vocals: NDArray[np.float32]
) -> float:
    if listen is None:
        return si_sdr(vocals, np.stack([separator.separate(channel, RATE)["vocals"] for channel in mixture]))
    with patch.object(room, "_loudness", listen):
        return si_sdr(vocals, separator.separate(mixture, RATE)["vocals"])


def mean_and_power(share: float) -> Listen:
    def listen(seen: NDArray[np.complex64]) -> NDArray[np.float32]:
        mean, power = np.abs(seen.mean(axis=0)) ** 2, (np.abs(seen) ** 2).mean(axis=0)
        return np.sqrt(share * mean + (1 - share) * power)

    return listen


PLACES = {"in the middle": np.float32([1, 1]), "6 dB left": np.float32([4 / 3, 2 / 3])}
LISTENS = {
    "each channel alone": None,
    "mean power of the channels": mean_and_power(0),
    "half of each": mean_and_power(0.5),
    "nine tenths mean (as shipped)": mean_and_power(0.9),
    "mean of the channels": mean_and_power(1),
}

if __name__ == "__main__":
    main()
