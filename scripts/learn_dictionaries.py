"""Learns the dictionaries of the method mlrr from the training clips of MIR-1K.

Usage: python scripts/learn_dictionaries.py ../shared/data/mir-1k
"""

import sys
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duetto import Track, load_tracks
from duetto.audio.atomic import replacing
from duetto.models.baselines.mlrr import DICTIONARIES, MLRR

TARGET = Path(str(resources.files("duetto.models.baselines"))) / DICTIONARIES
ORIGIN = "MIR-1K, the 171 clips of the papers' training split; MIT, MIR-1K is for research"
N_ATOMS = 100
N_ROUNDS = 15


def learn(tracks: Iterable[Track]) -> dict[str, NDArray[np.float32]]:
    """Dictionaries (n_bins, N_ATOMS) by source, of every other frame of the tracks, each source of norm 1."""
    spectra: dict[str, list[NDArray[np.float32]]] = {name: [] for name in MLRR.metadata.sources}
    for track in tracks:
        for name, source in track.load().sources.items():
            spectra[name].append(
                np.abs(MLRR.metadata.stft.forward(source[0] / np.linalg.norm(source)))[:, ::2]
            )
    return {name: spherical_k_means(np.concatenate(each, axis=1)) for name, each in spectra.items()}


def spherical_k_means(spectra: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Centres of norm 1 (n_bins, N_ATOMS), nearest in angle to the frames that are not silent.

    Dhillon and Modha, "Concept decompositions for large sparse text data using clustering", 2001. A centre
    that lost all its frames begins again at one of them.
    """
    rng = np.random.default_rng(seed)
    norms = np.linalg.norm(spectra, axis=0)
    is_loud = norms > 0.05 * np.sqrt(np.mean(norms**2))
    directions = spectra[:, is_loud] / norms[is_loud]
    n_frames = directions.shape[1]
    centres = directions[:, rng.choice(n_frames, N_ATOMS, replace=False)]
    for _ in range(N_ROUNDS):
        nearest = (centres.T @ directions).argmax(axis=0)
        belongs = (nearest[:, None] == np.arange(N_ATOMS)).astype(np.float32)
        sums = directions @ belongs
        lost = ~belongs.any(axis=0)
        sums[:, lost] = directions[:, rng.choice(n_frames, np.count_nonzero(lost))]
        centres = sums / np.linalg.norm(sums, axis=0)
    return centres


def main() -> None:
    tracks = load_tracks("mir1k", sys.argv[1], split="train")
    dictionaries = {name: each.astype(np.float16) for name, each in learn(tracks).items()}
    with replacing(TARGET) as part, part.open("wb") as file:
        np.savez_compressed(file, origin=np.array(ORIGIN), **dictionaries)
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB from {len(tracks)} clips")


if __name__ == "__main__":
    main()
