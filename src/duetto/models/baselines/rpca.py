"""Robust principal component analysis: the music repeats and has low rank, the voice is sparse."""

import numpy as np
from numpy.typing import NDArray

from duetto.dsp.masks import binary_masks, ratio_masks
from duetto.models.baselines.base import Method
from duetto.models.baselines.proximal import Matrix, shrink, shrink_singular_values
from duetto.models.metadata import ModelMetadata


class RPCA(Method):
    """Singing-voice separation by robust PCA.

    Huang, Chen, Smaragdis, Hasegawa-Johnson, "Singing-voice separation from monaural recordings using robust
    principal component analysis", ICASSP 2012. The magnitude M = L + S is decomposed by
    min ||L||_* + lambda ||S||_1; the vocals' mask is |S| / (|S| + |L|), or 1 where |S| > |L| (the paper's
    equation 7 with gain 1). All settings are the paper's: frames of 1024 points, a hop of 256, at 16 kHz, and
    lambda = 1 / sqrt(max(n_bins, n_frames)). The window is a Hann window. Segments of 15 s hold every clip of
    MIR-1K whole, the length for which that lambda was chosen.

    Args:
        binary: whether the mask is all or nothing.
    """

    def __init__(self, *, binary: bool = False) -> None:
        self._make_masks = binary_masks if binary else ratio_masks
        self.metadata = ModelMetadata(
            name="rpca-binary" if binary else "rpca",
            summary="robust PCA: the music has low rank, the voice is sparse"
            + (", binary mask" if binary else ""),
            paper="Huang et al., ICASSP 2012",
            n_fft=1024,
            hop_length=256,
            window="hann",
            segment_seconds=15.0,
        )

    def vocals_mask(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Method`."""
        low_rank, sparse = (
            np.abs(part).astype(np.float32) for part in robust_pca(magnitude.astype(np.float64))
        )
        # a tie belongs to the first, the accompaniment
        return self._make_masks({"accompaniment": low_rank, "vocals": sparse})["vocals"]


def robust_pca(
    matrix: Matrix, *, sparsity: float | None = None, tolerance: float = 1e-7, max_rounds: int = 200
) -> tuple[Matrix, Matrix]:
    """Solve min ||L||_* + lambda ||S||_1 with L + S = M by inexact augmented Lagrange multipliers.

    Lin, Chen, Ma, "The augmented Lagrange multiplier method for exact recovery of corrupted low-rank
    matrices", 2010, algorithm 5, with its own settings: mu begins at 1.25 / ||M||_2 and grows by half in each
    round.

    Args:
        matrix: M, not all zero.
        sparsity: lambda, by default 1 / sqrt(max(M.shape)).
        tolerance: stop when ||M - L - S|| is that part of ||M|| (Frobenius).
        max_rounds: stop then at the latest.

    Returns:
        L and S, of the shape of M.
    """
    weight = max(matrix.shape) ** -0.5 if sparsity is None else sparsity
    spectral_norm = float(np.linalg.norm(matrix, 2))
    enough = tolerance * np.linalg.norm(matrix)
    multiplier = matrix / max(spectral_norm, abs(matrix).max() / weight)
    sparse = np.zeros_like(matrix)
    mu = 1.25 / spectral_norm
    for _ in range(max_rounds):
        low_rank = shrink_singular_values(matrix - sparse + multiplier / mu, 1 / mu)
        sparse = shrink(matrix - low_rank + multiplier / mu, weight / mu)
        residual = matrix - low_rank - sparse
        if np.linalg.norm(residual) <= enough:
            break
        multiplier += mu * residual
        mu *= 1.5
    return low_rank, sparse
