"""What a Separator needs of a model, and how a model is found by its name."""

import difflib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from duetto.errors import ModelError
from duetto.models.baselines import METHODS, Method
from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import OnnxModel

DEFAULT_MODEL = "duetto"


class MaskModel(Protocol):
    """A model that estimates masks: an `OnnxModel`, a network in training, or a conventional method."""

    @property
    def metadata(self) -> ModelMetadata:
        """What describes it."""

    def masks(self, x: NDArray[Any], /) -> NDArray[Any]:
        """The masks of a sequence; called from several threads at a time.

        Args:
            x: as `metadata.input` says, a magnitude (batch_size, n_frames, n_bins), float32, or a spectrogram
                (batch_size, n_channels, n_frames, n_bins), complex64.

        Returns:
            Of a magnitude the masks of the sources (batch_size, n_sources, n_frames, n_bins) in [0, 1]; of a
            spectrogram the vocals' complex masks, of its shape; of two channels there may be two cross masks
            behind them, whose products with the other channel are added to the vocals.
        """


@runtime_checkable
class StatefulModel(MaskModel, Protocol):
    """A model that takes a sequence in chunks, which together give what `masks` gives of the whole."""

    def step(
        self, x: NDArray[Any], state: Sequence[NDArray[Any]] | None, /, *, is_last: bool
    ) -> tuple[NDArray[Any], Sequence[NDArray[Any]]]:
        """The masks that are next, and the state.

        Args:
            x: the next chunk, as for `masks`. All but the last are a multiple of `metadata.frame_grid`
                frames, and the first has `metadata.first_frames` at least.
            state: what the step before returned, None at the start.
            is_last: whether this is the last chunk.

        Returns:
            Masks as `masks` gives them, of other frames than those of `x`: they come `metadata.look_ahead`
            frames late, and with the last chunk come all that are left. And the state after them.
        """


def model_files() -> dict[str, Path]:
    """The model files that ship: name -> path."""
    folder = Path(str(resources.files("duetto.models") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def list_models() -> list[str]:
    """The names of all models: the networks that ship, then the conventional methods.

    Examples:
        >>> import duetto
        >>> duetto.list_models()[:3]
        ['drnn', 'duetto', 'mir1k']
    """
    return [*model_files(), *METHODS]


def open_model(model: str | os.PathLike[str], *, n_threads: int = 1) -> Sequence[OnnxModel | Method]:
    """Find a model by its name or by the path of a model file.

    Args:
        model: the name or path.
        n_threads: on which a network runs.

    Returns:
        The stages of the separation, mostly one; each separates the vocals of the one before it.

    Raises:
        ModelError: neither, or a damaged model file; the message lists the names.
    """
    name, files = str(model), model_files()
    if name in METHODS:
        return METHODS[name]
    path = files.get(name, Path(model))
    if path.suffix == ".onnx" or path.exists():
        return [OnnxModel(path, n_threads=n_threads)]
    near = difflib.get_close_matches(name, list_models(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    names = ", ".join(list_models())
    raise ModelError(f"no model {name!r}: {hint}Give one of {names} or the path of an .onnx model file")
