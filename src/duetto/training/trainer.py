"""The training loop on Lightning Fabric: batches -> gradients -> steps -> validation -> checkpoints."""

import json
import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from duetto.errors import ConfigError, MetricError
from duetto.evaluation.evaluator import evaluate
from duetto.evaluation.tracks import Track
from duetto.models.registry import model_files
from duetto.separation.separator import Separator
from duetto.training.checkpoint import (
    BEST,
    CONFIG,
    LAST,
    SUMMARY,
    Checkpoint,
    RunProgress,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    write_whole,
)
from duetto.training.config import Config
from duetto.training.config_io import read_config
from duetto.training.data.sampler import Batches, BatchSource
from duetto.training.data.sources import Recording, load_data
from duetto.training.init_from import MODEL_SUFFIX, initialise_from, unfold_norms
from duetto.training.losses import build_objective
from duetto.training.networks import Network, build_network
from duetto.training.optimisers import build_average, build_optimisers, set_learning_rates
from duetto.training.run_log import RunLog, git_revision
from duetto.training.torch_model import TorchModel

DIVERGED = "if the training diverged, set a lower optimiser.learning_rate or optimiser.clip_norm"

N_NORM_MIXTURES = 480
"""Mixtures on which the normalisations of a model file are measured."""

OnStep = Callable[[RunProgress, dict[str, float]], None]


def train(
    config: Config,
    root: str | Path,
    folder: str | Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    on_step: OnStep | None = None,
) -> RunProgress:
    """Train the network of a configuration.

    The batch of a step depends on the seed and the step alone, and a checkpoint is whole or absent, so a run
    that was killed and resumed ends with the same weights as one that was not.

    Args:
        config: the experiment.
        root: folder of the dataset.
        folder: of the run: config.json, log.jsonl, tensorboard/, checkpoint-*/, last.safetensors (the weights
            of the last checkpoint), best.safetensors (those that `run.checkpoint_selection` selects) and at
            the end summary.json.
        resume: continue from the newest checkpoint in `folder`.
        accelerator: "cpu", "cuda", ... as in Lightning Fabric.
        devices: processes on each machine; a batch is divided among them, with the result of one process.
            Fabric starts the others by running the same command line again.
        nodes: number of machines.
        on_step: called in every process after every step with the progress and the logged values.

    Returns:
        The progress at the end.

    Raises:
        ConfigError: `folder` cannot be written, or holds a run and `resume` is not set, or another
            configuration; no such device; the loss is not finite.
        DatasetError: the dataset is incomplete.
        MetricError: the validation set cannot be scored.
        ModelError: a damaged checkpoint, or weights of `run.init_from` that cannot be read.
    """
    folder = Path(folder)
    fabric = _fabric(config, accelerator, devices, nodes)
    recordings, validation = load_data(config.data, Path(root))
    saved = None
    if fabric.global_rank == 0:  # errors are raised before other processes start
        if config.run.init_from and not resume:
            initialise_from(_initial_weights(config), _network(config))
        _claim(folder, config, resume)
        saved = load_checkpoint(folder)
    fabric.launch()
    run = _Run(fabric, config, folder, recordings, validation)
    run.restore(fabric.broadcast(saved))
    del saved  # 2 GB with L-BFGS
    return run.train(on_step)


def _fabric(config: Config, accelerator: str, devices: int, nodes: int) -> Fabric:
    n_processes = devices * nodes
    if config.optimiser.kind != "lbfgs" and config.optimiser.batch_size % n_processes:
        raise ConfigError(
            f"optimiser.batch_size = {config.optimiser.batch_size}: must be a multiple of the "
            f"{n_processes} processes"
        )
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if n_processes > 1 else "auto",
            precision=config.run.precision,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ConfigError(f"cannot use {devices} x {accelerator!r}: {error}") from error


def _network(config: Config) -> Network:
    return build_network(config.network, config.stft.build(centred=True).n_bins)


def _initial_weights(config: Config) -> Path:
    return model_files().get(config.run.init_from, Path(config.run.init_from))


def _claim(folder: Path, config: Config, resume: bool) -> None:
    """Write the configuration into the folder of a new run, or compare it with that of a resumed one."""
    path = folder / CONFIG
    if path.exists():
        if not resume:
            raise ConfigError(
                f"{folder} already holds a run; add --resume to continue it, or choose another folder"
            )
        held = read_config(path)
        changed = [key for key, value in config if value != getattr(held, key)]
        if changed:
            raise ConfigError(
                f"{folder} is a run with another {', '.join(changed)}; resume with its recipe and --set"
            )
    write_whole(path, config.model_dump_json(indent=1).encode())


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        fabric: Fabric,
        config: Config,
        folder: Path,
        recordings: list[Recording],
        validation: list[Track],
    ) -> None:
        self.fabric = fabric
        self.config = config
        self.folder = folder
        self.recordings, self.validation = recordings, validation
        self.objective = build_objective(config)
        torch.manual_seed(config.run.seed)
        self.progress = RunProgress()
        self.revision = git_revision()
        # the bare ones are without Fabric's wrapping; the weights are the same
        self.bare = _network(config)
        self.bare_optimisers = build_optimisers(config.optimiser, self.bare)
        self.network, *self.optimisers = fabric.setup(self.bare, *self.bare_optimisers)
        self.averaged: AveragedModel | None = None

    def restore(self, saved: Checkpoint | None) -> None:
        """Load a checkpoint; without one, initialise from the weights of `run.init_from`."""
        if saved:
            self.bare.load_state_dict(saved.weights)
            for optimiser, state in zip(self.bare_optimisers, saved.optimisers, strict=True):
                optimiser.load_state_dict(state)
            self.progress = saved.progress
        elif self.config.run.init_from:
            path = _initial_weights(self.config)
            initialise_from(path, self.bare)
            if path.suffix == MODEL_SUFFIX:
                unfold_norms(self.bare, self._run_mixtures)
        self.averaged = build_average(self.bare, self.config.optimiser.ema_decay)  # copies the weights
        if saved and self.averaged:
            self.averaged.load_state_dict(saved.averaged)

    def _run_mixtures(self, network: torch.nn.Module) -> None:
        """Run a network on the first mixtures, which are the same in every process."""
        batches = BatchSource(self.config, self.recordings, rank=0, n_processes=1)
        for step in range(-(-N_NORM_MIXTURES // self.config.optimiser.batch_size)):
            for batch, _ in batches(step):
                self.objective(network, self.fabric.to_device(batch))

    def train(self, on_step: OnStep | None) -> RunProgress:
        """Train to the last step, or until the validation score stalls."""
        run, progress = self.config.run, self.progress
        started = time.monotonic() - progress.seconds
        saved_at = time.monotonic()
        if run.init_from and run.checkpoint_selection == "best" and not progress.step:
            self._validate()  # the initial weights may be the best
            progress.initial_gnsdr = progress.best_gnsdr
        source = BatchSource(
            self.config,
            self.recordings,
            rank=self.fabric.global_rank,
            n_processes=self.fabric.world_size,
            n_workers=run.n_workers,
            first_step=progress.step,
        )
        with (
            closing(source),
            RunLog(self.folder, progress.step) if self.fabric.global_rank == 0 else nullcontext() as log,
        ):
            while progress.step < run.n_steps and progress.n_stale < run.patience:
                values = self._step(progress.step, source)
                progress.step += 1
                due = progress.step % run.evaluate_every == 0 or progress.step == run.n_steps
                if due:
                    values |= self._validate()
                progress.seconds = values["seconds"] = time.monotonic() - started
                if log:
                    log.scalars(progress.step, values)
                    if due:
                        self._log_examples(log)
                    if due or time.monotonic() - saved_at > 60 * run.checkpoint_minutes:
                        log.flush()  # before the checkpoint, so that a resumed log has no gap
                        self._save_checkpoint()
                        saved_at = time.monotonic()
                if on_step:
                    on_step(progress, values)
        if self.fabric.global_rank == 0:
            summary = {
                **vars(progress),
                "commit": self.revision,
                "config": self.config.model_dump(mode="json"),
            }
            write_whole(self.folder / SUMMARY, json.dumps(summary, indent=1).encode())
        return progress

    def _step(self, step: int, source: BatchSource) -> dict[str, float]:
        settings = self.config.optimiser
        self.network.train()
        set_learning_rates(self.bare_optimisers, self.config, step)
        begun = time.monotonic()
        batches = source(step)
        waited = time.monotonic() - begun
        gradients = partial(self._gradients, batches)
        clip = partial(torch.nn.utils.clip_grad_norm_, list(self.network.parameters()))
        if settings.kind == "lbfgs":
            loss = self.optimisers[0].step(gradients)
            norm = clip(max_norm=math.inf)  # only measures the norm at the line search's last evaluation
        else:
            loss = gradients()
            norm = clip(max_norm=settings.clip_norm)
            for optimiser in self.optimisers:
                optimiser.step()
        if self.averaged:
            self.averaged.update_parameters(self.bare)
        rate = self.bare_optimisers[-1].param_groups[0]["lr"]
        values = {"loss": float(loss), "gradient_norm": float(norm), "learning_rate": rate}
        values["waited_seconds"] = waited
        if not all(map(math.isfinite, values.values())):
            raise ConfigError(
                f"step {step + 1}: loss {values['loss']}, gradient norm {values['gradient_norm']}; {DIVERGED}"
            )
        return values

    def _gradients(self, batches: Batches) -> Tensor:
        """Compute the gradients of a step's loss; returns the loss over all processes."""
        self.network.zero_grad()
        total = torch.zeros((), device=self.fabric.device)
        for index, (batch, weight) in enumerate(batches):
            last = index == len(batches) - 1
            with self.fabric.no_backward_sync(self.network, enabled=not last):
                loss = self.objective(self.network, self.fabric.to_device(batch)) * weight
                self.fabric.backward(loss * self.fabric.world_size)  # DDP averages over processes
            total += loss.detach()
        return cast(Tensor, self.fabric.all_reduce(total, reduce_op="sum"))

    def _validate(self) -> dict[str, float]:
        """Score the validation set in one process, share the result with all, and select the weights."""
        values: dict[str, float] = {}
        if self.fabric.global_rank == 0:
            try:
                means = evaluate(self._separator(), self.validation, jobs=1).means
            except MetricError as error:
                raise MetricError(f"step {self.progress.step}: {error}; {DIVERGED}") from error
            for source, mean in means.items():
                scores = {"GNSDR": mean.gnsdr, "GSIR": mean.gsir, "GSAR": mean.gsar}
                values |= {f"validation/{source}/{name}": score for name, score in scores.items()}
        values = self.fabric.broadcast(values)
        progress, gnsdr = self.progress, values["validation/vocals/GNSDR"]
        progress.n_stale += 1
        if self.config.run.checkpoint_selection == "last" or gnsdr > progress.best_gnsdr:
            progress.best_gnsdr, progress.best_step, progress.n_stale = gnsdr, progress.step, 0
            if self.fabric.global_rank == 0:
                save_weights(self.folder / BEST, self._evaluated_network)
        return values

    def _log_examples(self, log: RunLog) -> None:
        """Log histograms of the weights, and audio and spectrograms of some validation tracks."""
        step = self.progress.step
        log.histograms(step, self.bare)
        separator = self._separator()
        for track in self.validation[: self.config.run.n_logged_tracks]:
            audio = track.load()
            stems = separator.separate(audio.mixture, audio.sample_rate)
            waveforms = {"mixture": audio.mixture[0]}
            waveforms |= {name: stem[0] for name, stem in stems.items()}
            waveforms |= {f"reference {name}": source[0] for name, source in audio.sources.items()}
            log.audio(step, track.name, waveforms, audio.sample_rate)

    def _save_checkpoint(self) -> None:
        save_weights(self.folder / LAST, self._evaluated_network)
        states = [optimiser.state_dict() for optimiser in self.bare_optimisers]
        averaged = self.averaged.state_dict() if self.averaged else {}
        save_checkpoint(self.folder, Checkpoint(self.bare.state_dict(), states, averaged, self.progress))

    @property
    def _evaluated_network(self) -> Network:
        """The network that is scored and saved: the moving average if there is one."""
        return cast(Network, self.averaged.module) if self.averaged else self.bare

    def _separator(self) -> Separator:
        return Separator(TorchModel(self.config, self._evaluated_network.eval()))
