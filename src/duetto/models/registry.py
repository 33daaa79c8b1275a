"""What a Separator needs of a network or a method, and how one is found by name."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from duetto.errors import ModelError
from duetto.models.baselines import METHODS, Method
from duetto.models.metadata import EstimatorMetadata
from duetto.models.onnx_model import Bundle, list_bundles


class MaskEstimator(Protocol):
    """What a Separator needs: a `Bundle`, a network in training, or a conventional method."""

    @property
    def metadata(self) -> EstimatorMetadata:
        """The estimator's transform and the order of its sources."""

    def masks(self, seen: NDArray[Any], /) -> NDArray[Any]:
        """What its `metadata.input` says that it sees, to masks; called from several threads at a time.

        A magnitude (batch_size, n_bins, n_frames) to real masks (batch_size, n_sources, n_bins, n_frames), or
        a complex spectrogram (batch_size, n_channels, n_bins, n_frames) to the vocals' complex masks of it.
        """


def list_models() -> list[str]:
    """The names that `find_estimators` knows: the bundles that ship, then the conventional methods."""
    return [*list_bundles(), *METHODS]


def find_estimators(model: str | os.PathLike[str], *, n_threads: int = 1) -> Sequence[Bundle | Method]:
    """Find a model by the name of a bundle that ships or of a conventional method, or by a bundle's path.

    Args:
        model: the name or path.
        n_threads: on which a bundle runs.

    Returns:
        The stages of the separation, mostly one; each takes apart the vocals of the one before it.

    Raises:
        ModelError: none of these, or a damaged bundle; the message lists the names.
    """
    name, bundles = str(model), list_bundles()
    if name in METHODS:
        return METHODS[name]
    path = bundles.get(name, Path(model))
    if path.suffix == ".onnx" or path.exists():
        return [Bundle(path, n_threads=n_threads)]
    near = difflib.get_close_matches(name, list_models(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    names = ", ".join(list_models())
    raise ModelError(f"no model {name!r}: {hint}Give one of {names} or the path of an .onnx bundle")
