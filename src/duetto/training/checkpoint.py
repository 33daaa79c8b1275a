"""The files of a run: checkpoints, weights and their names. No pickle of arbitrary objects."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from duetto.audio.atomic import replacing
from duetto.errors import ConfigError, ModelError

CONFIG, SUMMARY = "config.json", "summary.json"
BEST, LAST = "best.safetensors", "last.safetensors"
WEIGHTS, OPTIMISER, PROGRESS = "weights.safetensors", "optimiser.pt", "progress.json"


@dataclass
class RunProgress:
    """The state of a run that is reported.

    Attributes:
        step: number of steps done.
        best_gnsdr: validation GNSDR of the vocals with the selected weights, in decibels.
        best_step: the step of the selected weights.
        n_stale: evaluations since then.
        seconds: wall time of training and evaluation, over all resumptions.
        initial_gnsdr: that of the initial weights of `run.init_from`, where the best weights are selected.
    """

    step: int = 0
    best_gnsdr: float = float("-inf")
    best_step: int = 0
    n_stale: int = 0
    seconds: float = 0.0
    initial_gnsdr: float | None = None


@dataclass
class Checkpoint:
    """All that a resumed run needs: weights, optimiser states, the weights' moving average, progress."""

    weights: dict[str, torch.Tensor]
    optimisers: list[dict[str, Any]]
    averaged: dict[str, torch.Tensor]
    progress: RunProgress


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `folder`/checkpoint-STEP, then remove the older ones.

    Raises:
        ConfigError: the folder cannot be written.
    """
    final = folder / f"checkpoint-{checkpoint.progress.step:08d}"
    older = _checkpoints(folder)
    try:
        with replacing(final) as part:
            part.mkdir()
            (part / WEIGHTS).write_bytes(save(checkpoint.weights))
            (part / PROGRESS).write_text(json.dumps(asdict(checkpoint.progress)), encoding="utf-8")
            torch.save((checkpoint.optimisers, checkpoint.averaged), part / OPTIMISER)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
        raise _unwritable(final, error) from error
    for path in older:
        shutil.rmtree(path)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint; None if the run has none yet.

    Raises:
        ModelError: a damaged checkpoint.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        optimisers, averaged = torch.load(newest / OPTIMISER, map_location="cpu", weights_only=True)
        progress = json.loads((newest / PROGRESS).read_text(encoding="utf-8"))
        return Checkpoint(load_file(newest / WEIGHTS), optimisers, averaged, RunProgress(**progress))
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{newest}: damaged checkpoint ({error}); delete it and resume again") from error


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights as safetensors.

    Raises:
        ConfigError: the file cannot be written.
    """
    write_whole(path, save(network.state_dict()))


def load_weights(path: Path, network: nn.Module) -> None:
    """Read weights into a network of the same shape.

    Raises:
        ModelError: a missing or damaged file, or weights of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot load the weights ({error}); has the run finished?") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that keeps its old content until the new is complete.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-" + 8 * "[0-9]"))


def _unwritable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"cannot write {path} ({error}); choose another folder, or free some space")
