"""Files of a run that are whole or absent. No pickle of arbitrary objects."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from duetto.audio.atomic import replacing
from duetto.errors import ConfigError, ModelError
from duetto.training.init_from import bundled_weights

CONFIG, BEST, SUMMARY = "config.json", "best.safetensors", "summary.json"
BUNDLE = ".onnx"
WEIGHTS, OPTIMISER, PROGRESS = "weights.safetensors", "optimiser.pt", "progress.json"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        best_gnsdr: the dev GNSDR of the vocals with the weights that are kept so far, in decibels.
        best_step: the step that had them.
        n_stale: scorings since then.
        seconds: wall time spent training and scoring, over all resumptions.
    """

    step: int = 0
    best_gnsdr: float = float("-inf")
    best_step: int = 0
    n_stale: int = 0
    seconds: float = 0.0


@dataclass
class Checkpoint:
    """All that a run needs to go on: weights, the optimisers' states, the mean of the weights, progress."""

    weights: dict[str, torch.Tensor]
    optimisers: list[dict[str, Any]]
    averaged: dict[str, torch.Tensor]
    progress: Progress


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `folder`/checkpoint-STEP under a temporary name, rename it, then drop the older ones.

    Raises:
        ConfigError: the folder cannot be written.
    """
    final = folder / f"checkpoint-{checkpoint.progress.step:08d}"
    part = final.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    older = _checkpoints(folder)
    try:
        part.mkdir()
        _write(part / WEIGHTS, save(checkpoint.weights))
        _write(part / PROGRESS, json.dumps(asdict(checkpoint.progress)).encode())
        _fill(part / OPTIMISER, partial(torch.save, (checkpoint.optimisers, checkpoint.averaged)))
        part.rename(final)
        _flush_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
        raise _unwritable(final, error) from error
    for path in older:
        shutil.rmtree(path)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint; None if the run has none yet.

    Raises:
        ModelError: a checkpoint that cannot be read.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        optimisers, averaged = torch.load(newest / OPTIMISER, map_location="cpu", weights_only=True)
        return Checkpoint(
            load_file(newest / WEIGHTS),
            optimisers,
            averaged,
            Progress(**json.loads((newest / PROGRESS).read_text(encoding="utf-8"))),
        )
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
        ModelError: no such file, damaged, or of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot take the weights ({error}); is the run finished?") from error


def load_start(path: Path, network: nn.Module) -> None:
    """Begin with the weights of another network, which may be smaller: they take the leading part of each.

    What the other network lacks begins with fresh weights, but nothing that it had hears it at first. The
    norms of a bundle (.onnx) still have to be taken apart (`duetto.training.init_from`).

    Raises:
        ModelError: no such file, damaged, or of a larger network.
    """
    transposed = {
        f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)
    }
    try:
        held = bundled_weights(path, network) if path.suffix == BUNDLE else load_file(path)
        own = network.state_dict()
        for name in held.keys() & own.keys():
            weight = own[name].clone()
            if weight.ndim > 1:
                weight.narrow(int(name in transposed), 0, held[name].shape[name in transposed]).zero_()
            weight[tuple(map(slice, held[name].shape))] = held[name]
            own[name] = weight
        network.load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError, IndexError) as error:
        raise ModelError(f"{path}: cannot begin with these weights ({error}); see run.start") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that keeps its old content until it has all of the new.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with replacing(path) as part:
            _write(part, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("checkpoint-*") if path.suffix != ".part")


def _write(path: Path, content: bytes) -> None:
    _fill(path, lambda file: file.write(content))


def _fill(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    with path.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _unwritable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"cannot write {path} ({error}); free some space or choose another folder")
