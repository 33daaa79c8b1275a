"""What all conventional methods share: masks of one magnitude at a time, independent of its level."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from duetto.models.metadata import ModelMetadata


class Method(ABC):
    """A conventional method: a model without weights and without a state; see `MaskModel`.

    Attributes:
        metadata: what describes it.
    """

    metadata: ModelMetadata

    def masks(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Magnitude (batch_size, n_frames, n_bins) to masks (batch_size, 2, n_frames, n_bins)."""
        vocals = np.stack([self._scaled(each.T).T for each in magnitude]).astype(np.float32, copy=False)
        return np.stack([vocals, 1 - vocals], axis=1)

    def _scaled(self, magnitude: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scale a magnitude to maximum 1 first, so that masks do not depend on the level."""
        top = magnitude.max(initial=0)
        if top == 0:
            return np.zeros_like(magnitude)
        return self.vocals_mask(magnitude / top)

    @abstractmethod
    def vocals_mask(self, magnitude: NDArray[np.float32]) -> NDArray[np.floating]:
        """Mask of the vocals.

        Args:
            magnitude: (n_bins, n_frames), as the papers write it, with maximum 1.

        Returns:
            The mask, of the same shape, in [0, 1].
        """
