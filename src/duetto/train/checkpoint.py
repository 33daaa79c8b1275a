"""Checkpoints that are whole or absent, and the weights files of a run. No pickle of arbitrary objects."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from duetto.errors import ModelError

CONFIG, BEST = "config.json", "best.safetensors"
WEIGHTS, OPTIMISER, PROGRESS = "weights.safetensors", "optimiser.pt", "progress.json"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        best_gnsdr: the best dev GNSDR of the vocals so far, in decibels.
        best_step: the step that had it.
        n_stale: scorings since then.
        seconds: wall time spent training, over all resumptions.
    """

    step: int = 0
    best_gnsdr: float = float("-inf")
    best_step: int = 0
    n_stale: int = 0
    seconds: float = 0.0


def save_checkpoint(
    folder: Path, network: nn.Module, optimiser_state: dict[str, Any], progress: Progress
) -> None:
    """Write `folder`/checkpoint-STEP under a temporary name, rename it, then drop the older ones."""
    final = folder / f"checkpoint-{progress.step:08d}"
    part = folder / f"{final.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(network.state_dict(), part / WEIGHTS)
    torch.save(optimiser_state, part / OPTIMISER)
    (part / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
    for path in part.iterdir():
        _flush(path)
    older = _checkpoints(folder)
    part.rename(final)
    _flush(folder)
    for path in older:
        shutil.rmtree(path)


def load_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], Progress] | None:
    """The newest checkpoint's weights, optimiser state and progress; None if the run has none yet.

    Raises:
        ModelError: a checkpoint that cannot be read.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        weights = load_file(newest / WEIGHTS)
        optimiser_state = torch.load(newest / OPTIMISER, weights_only=True)
        progress = Progress(**json.loads((newest / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(f"{newest}: damaged checkpoint ({error}); delete it and resume again") from error
    return weights, optimiser_state, progress


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights atomically."""
    part = path.with_name(f".{path.name}.part")
    save_file(network.state_dict(), part)
    _flush(part)
    part.replace(path)


def load_weights(path: Path, network: nn.Module) -> None:
    """Read weights into a network of the same shape.

    Raises:
        ModelError: no such file, damaged, or of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot take the weights ({error}); is the run finished?") from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("checkpoint-*") if path.suffix != ".part")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
