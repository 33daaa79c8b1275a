"""Low-rank representation with a dictionary of voices and one of music, in the spirit of MLRR."""

from collections.abc import Sequence
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.masks import ratio_masks
from duetto.models.baselines.base import Method
from duetto.models.baselines.proximal import Matrix, shrink, shrink_singular_values
from duetto.models.metadata import ModelMetadata

DICTIONARIES = "mlrr.npz"


class MLRR(Method):
    """Separation by multiple low-rank representation.

    Yang, "Low-rank representation of both singing voice and music accompaniment via learned dictionaries",
    ISMIR 2013. A magnitude is X = D1 Z1 + D2 Z2 + E with dictionaries of 100 spectra each, learned from
    voices and from accompaniments, minimising ||Z1||_* + ||Z2||_* + lambda ||E||_1. The vocals' mask is
    D1 Z1 / (D1 Z1 + D2 Z2), negative values being 0; below 100 Hz it is 0.

    The dictionaries are the centres of a spherical k-means over the frames of the 171 training clips of
    MIR-1K (`scripts/learn_dictionaries.py`); the paper learns them by sparse coding. lambda is
    10 / sqrt(max(n_bins, n_frames)): of 1, 3 and 10 the best on every sixteenth training clip, with
    dictionaries of the other of the two training singers.
    """

    sparsity = 10.0
    lowest_voice_hertz = 100.0
    metadata = ModelMetadata(
        name="mlrr",
        summary="low-rank activations of learned spectra of voices and of music",
        paper="after Yang, ISMIR 2013",
        n_fft=1024,
        hop_length=512,
        window="sine",
        segment_seconds=15.0,
    )

    @cached_property
    def dictionaries(self) -> dict[str, NDArray[np.float32]]:
        """Spectra of each source, (n_bins, n_atoms), every one of norm 1."""
        with (
            (resources.files("duetto.models.baselines") / DICTIONARIES).open("rb") as file,
            np.load(file) as held,
        ):
            return {name: held[name].astype(np.float32) for name in self.metadata.sources}

    def vocals_mask(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Method`."""
        sparsity = self.sparsity * max(magnitude.shape) ** -0.5
        parts = low_rank_parts(magnitude, list(self.dictionaries.values()), sparsity=sparsity)
        named = zip(self.dictionaries, parts, strict=True)
        mask = ratio_masks({name: np.maximum(part, 0).astype(np.float32) for name, part in named})["vocals"]
        mask[: round(self.lowest_voice_hertz * self.metadata.stft.n_fft / self.metadata.sample_rate)] = 0
        return mask


def low_rank_parts(
    matrix: Matrix,
    dictionaries: Sequence[Matrix],
    *,
    sparsity: float,
    tolerance: float = 1e-3,
    max_rounds: int = 100,
) -> list[Matrix]:
    """Solve min sum_i ||Z_i||_* + lambda ||E||_1 with sum_i D_i Z_i + E = X, by Lagrange multipliers.

    Each Z_i has a copy J_i, so that one of them is shrunk and the other solved for (Yang 2013, algorithm 1).

    Args:
        matrix: X, (n_bins, n_frames), not all zero.
        dictionaries: D_i, (n_bins, n_atoms).
        sparsity: lambda.
        tolerance: stop when what X lacks is that part of ||X|| (Frobenius), and so for every copy.
        max_rounds: stop then at the latest.

    Returns:
        D_i Z_i, each of the shape of X.
    """
    n_frames = matrix.shape[1]
    norm = np.linalg.norm(matrix)
    inverses = [
        np.linalg.inv(np.eye(each.shape[1], dtype=np.float32) + each.T @ each) for each in dictionaries
    ]
    codes: list[Matrix] = [np.zeros((each.shape[1], n_frames), np.float32) for each in dictionaries]
    duals: list[Matrix] = [np.zeros_like(each) for each in codes]
    parts: list[Matrix] = [np.zeros_like(matrix) for _ in dictionaries]
    error, dual = np.zeros_like(matrix), np.zeros_like(matrix)
    mu = 1.25 / float(np.linalg.norm(matrix, 2))
    for _ in range(max_rounds):
        farthest = 0.0
        for i, dictionary in enumerate(dictionaries):
            copy = shrink_singular_values(codes[i] + duals[i] / mu, 1 / mu)
            missing = matrix - sum(parts[:i] + parts[i + 1 :]) - error + dual / mu
            codes[i] = inverses[i] @ (dictionary.T @ missing + copy - duals[i] / mu)
            parts[i] = dictionary @ codes[i]
            duals[i] += mu * (codes[i] - copy)
            farthest = max(farthest, float(np.linalg.norm(codes[i] - copy)))
        whole = sum(parts)
        error = shrink(matrix - whole + dual / mu, sparsity / mu)
        residual = matrix - whole - error
        if max(farthest, float(np.linalg.norm(residual))) <= tolerance * norm:
            break
        dual += mu * residual
        mu *= 1.3
    return parts
