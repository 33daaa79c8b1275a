"""The training loop: batches -> gradients -> steps -> dev scores -> checkpoints, on Lightning Fabric."""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import LBFGS, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from duetto.errors import ConfigError, MetricError
from duetto.evaluation.datasets import Track
from duetto.evaluation.evaluator import evaluate
from duetto.models.onnx_model import list_bundles
from duetto.separation.separator import Separator
from duetto.training.checkpoint import (
    BEST,
    BUNDLE,
    CONFIG,
    SUMMARY,
    Checkpoint,
    Progress,
    load_checkpoint,
    load_start,
    save_checkpoint,
    save_weights,
    write_whole,
)
from duetto.training.config import Config, OptimiserConfig
from duetto.training.config_io import read_config
from duetto.training.data.batches import Batches, load_data, make_batches
from duetto.training.data.sampler import Sources
from duetto.training.git_revision import commit
from duetto.training.init_from import take_norms_apart
from duetto.training.muon import Muon
from duetto.training.networks import Network, build_network
from duetto.training.objectives import build_objective
from duetto.training.run_log import RunLog
from duetto.training.torch_model import NetworkEstimator

DIVERGED = "if the training diverged, set a lower optimiser.learning_rate or optimiser.clip_norm"

N_HEARD = 480
"""Mixtures on which the norms of a bundle are measured."""

OnStep = Callable[[Progress, dict[str, float]], None]


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
) -> Progress:
    """Run one experiment.

    The batch of a step depends on the seed and the step alone, and a checkpoint is whole or absent, so a run
    that was killed and resumed ends with the same weights as one that was not.

    Args:
        config: the experiment.
        root: folder of the dataset.
        folder: of the run: config.json, log.jsonl, tensorboard/, checkpoint-*/, best.safetensors (the
            weights of the best dev GNSDR, or as `run.keep` says) and at the end summary.json.
        resume: go on from the newest checkpoint in `folder`.
        accelerator: "cpu", "cuda", ... as Lightning Fabric names them.
        devices: processes on each machine; a batch is divided among them, its result is that of one.
            Fabric starts the others by running the same command line again.
        nodes: machines.
        on_step: called in every process after every step with the progress and the values that were logged.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: `folder` cannot be written, or holds a run and `resume` is not set, or another
            configuration; no such device; the loss is not finite.
        DatasetError: the dataset is incomplete.
        MetricError: the dev tracks cannot be scored.
        ModelError: a damaged checkpoint, or `run.start` cannot be read.
    """
    folder = Path(folder)
    fabric = _fabric(config, accelerator, devices, nodes)
    sources, dev = load_data(config.data, Path(root))
    saved = None
    if fabric.global_rank == 0:  # what can be refused is refused before other processes start
        if config.run.start and not resume:
            load_start(_start(config), _network(config))
        _claim(folder, config, resume)
        saved = load_checkpoint(folder)
    fabric.launch()
    run = _Run(fabric, config, folder, sources, dev)
    run.restore(fabric.broadcast(saved))
    del saved  # 2 GB after L-BFGS
    return run.go(on_step)


def _fabric(config: Config, accelerator: str, devices: int, nodes: int) -> Fabric:
    n_processes = devices * nodes
    if config.optimiser.batch == "mini" and config.optimiser.batch_size % n_processes:
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


def _start(config: Config) -> Path:
    return list_bundles().get(config.run.start, Path(config.run.start))


def _claim(folder: Path, config: Config, resume: bool) -> None:
    path = folder / CONFIG
    if path.exists():
        if not resume:
            raise ConfigError(
                f"{folder} already holds a run; add --resume to go on with it, or choose another"
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
        self, fabric: Fabric, config: Config, folder: Path, sources: list[Sources], dev: list[Track]
    ) -> None:
        self.fabric = fabric
        self.config = config
        self.folder = folder
        self.sources, self.dev = sources, dev
        self.batches = make_batches(config, sources, rank=fabric.global_rank, n_processes=fabric.world_size)
        self.objective = build_objective(config)
        torch.manual_seed(config.run.seed)
        self.progress = Progress()
        self.commit = commit()
        # the bare ones are without Fabric's wrapping; the weights are the same
        self.bare = _network(config)
        self.bare_optimisers = build_optimisers(config.optimiser, self.bare)
        self.network, *self.optimisers = fabric.setup(self.bare, *self.bare_optimisers)
        self.averaged = average_of(self.bare, config.optimiser.averaging)

    def restore(self, saved: Checkpoint | None) -> None:
        """Go back to where a checkpoint was taken, or begin with the weights of another run."""
        if not saved and self.config.run.start:
            load_start(_start(self.config), self.bare)
            if _start(self.config).suffix == BUNDLE:
                take_norms_apart(self.bare, self._hear)
        if saved:
            self.bare.load_state_dict(saved.weights)
            for optimiser, state in zip(self.bare_optimisers, saved.optimisers, strict=True):
                optimiser.load_state_dict(state)
            if self.averaged:
                self.averaged.load_state_dict(saved.averaged)
            self.progress = saved.progress

    def _hear(self, network: torch.nn.Module) -> None:
        """Let a network hear the first mixtures, the same ones in every process."""
        batches = make_batches(self.config, self.sources, rank=0, n_processes=1)
        for step in range(-(-N_HEARD // self.config.optimiser.batch_size)):
            for batch, _ in batches(step):
                self.objective(network, self.fabric.to_device(batch))

    def go(self, on_step: OnStep | None) -> Progress:
        """Train to the last step or until the dev score stalls."""
        run, progress = self.config.run, self.progress
        started = time.monotonic() - progress.seconds
        with RunLog(self.folder, progress.step) if self.fabric.global_rank == 0 else nullcontext() as log:
            while progress.step < run.n_steps and progress.n_stale < run.patience:
                values = self._step(progress.step)
                progress.step += 1
                due = progress.step % run.evaluate_every == 0 or progress.step == run.n_steps
                if due:
                    values |= self._score()
                progress.seconds = values["seconds"] = time.monotonic() - started
                if log:
                    log.scalars(progress.step, values)
                    if due:
                        self._report(log)
                if on_step:
                    on_step(progress, values)
        if self.fabric.global_rank == 0:
            summary = {**vars(progress), "commit": self.commit, "config": self.config.model_dump(mode="json")}
            write_whole(self.folder / SUMMARY, json.dumps(summary, indent=1).encode())
        return progress

    def _step(self, step: int) -> dict[str, float]:
        settings = self.config.optimiser
        self.network.train()
        schedule = learning_rate(self.config, step)
        for optimiser in self.bare_optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak_lr"] * schedule
        gradients = partial(self._gradients, self.batches(step))
        clip = partial(torch.nn.utils.clip_grad_norm_, list(self.network.parameters()))
        if settings.kind == "lbfgs":
            if settings.batch == "mini":  # curvature seen on one batch is false on the next
                self.bare_optimisers[0].state.clear()
            loss = self.optimisers[0].step(gradients)
            norm = clip(max_norm=math.inf)  # clips nothing; of the line search's last evaluation
        else:
            loss = gradients()
            norm = clip(max_norm=settings.clip_norm)
            for optimiser in self.optimisers:
                optimiser.step()
        if self.averaged:
            self.averaged.update_parameters(self.bare)
        rate = self.bare_optimisers[-1].param_groups[0]["lr"]
        values = {"loss": float(loss), "gradient_norm": float(norm), "learning_rate": rate}
        if not all(map(math.isfinite, values.values())):
            raise ConfigError(
                f"step {step + 1}: loss {values['loss']}, gradient norm {values['gradient_norm']}; {DIVERGED}"
            )
        return values

    def _gradients(self, batches: Batches) -> Tensor:
        """Put the gradients of a step's loss into the weights; returns the loss, over all processes."""
        self.network.zero_grad()
        total = torch.zeros((), device=self.fabric.device)
        for index, (batch, share) in enumerate(batches):
            last = index == len(batches) - 1
            with self.fabric.no_backward_sync(self.network, enabled=not last):
                loss = self.objective(self.network, self.fabric.to_device(batch)) * share
                self.fabric.backward(loss * self.fabric.world_size)  # DDP averages over processes
            total += loss.detach()
        return cast(Tensor, self.fabric.all_reduce(total, reduce_op="sum"))

    def _score(self) -> dict[str, float]:
        """Score the dev tracks in one process; every process learns of it."""
        values: dict[str, float] = {}
        if self.fabric.global_rank == 0:
            try:
                means = evaluate(self._separator(), self.dev, jobs=1).means
            except MetricError as error:
                raise MetricError(f"step {self.progress.step}: {error}; {DIVERGED}") from error
            for source, mean in means.items():
                values[f"dev/{source}/GNSDR"] = mean.gnsdr
                values[f"dev/{source}/GSIR"] = mean.gsir
                values[f"dev/{source}/GSAR"] = mean.gsar
        values = self.fabric.broadcast(values)
        progress = self.progress
        progress.n_stale += 1
        if self.config.run.keep == "last" or values["dev/vocals/GNSDR"] > progress.best_gnsdr:
            progress.best_gnsdr, progress.best_step = values["dev/vocals/GNSDR"], progress.step
            progress.n_stale = 0
            if self.fabric.global_rank == 0:
                save_weights(self.folder / BEST, self._kept)
        return values

    def _report(self, log: RunLog) -> None:
        """Histograms, clips to hear and see, and a checkpoint once the log up to here is on disk."""
        step = self.progress.step
        log.histograms(step, self.bare)
        separator = self._separator()
        for track in self.dev[: self.config.run.n_listen]:
            audio = track.load()
            stems = separator.separate(audio.mixture, audio.sample_rate)
            heard = {"mixture": audio.mixture[0]}
            heard |= {name: stem[0] for name, stem in stems.items()}
            heard |= {f"true {name}": source[0] for name, source in audio.sources.items()}
            log.listen(step, track.name, heard, audio.sample_rate)
        log.flush()
        states = [optimiser.state_dict() for optimiser in self.bare_optimisers]
        averaged = self.averaged.state_dict() if self.averaged else {}
        save_checkpoint(self.folder, Checkpoint(self.bare.state_dict(), states, averaged, self.progress))

    @property
    def _kept(self) -> Network:
        """The network that is scored and kept."""
        return cast(Network, self.averaged.module) if self.averaged else self.bare

    def _separator(self) -> Separator:
        return Separator(NetworkEstimator(self.config, self._kept.eval()))


def average_of(network: torch.nn.Module, share: float) -> AveragedModel | None:
    """What holds the running mean of the weights, over more steps as there are more to remember."""
    if not share:
        return None

    def mean(held: Tensor, new: Tensor, n_averaged: Tensor | int) -> Tensor:
        return held + (new - held) * (1 - min(share, (1 + float(n_averaged)) / (10 + float(n_averaged))))

    return AveragedModel(network, avg_fn=mean, use_buffers=True)


def build_optimisers(settings: OptimiserConfig, network: torch.nn.Module) -> list[Optimizer]:
    """The optimisers of a recipe; L-BFGS as in the authors' code, with a strong-Wolfe line search."""
    if settings.kind == "lbfgs":
        return [
            LBFGS(
                [{"params": list(network.parameters()), "peak_lr": 1.0}],
                max_iter=settings.iterations,
                history_size=settings.corrections,
                line_search_fn="strong_wolfe",
            )
        ]
    decay, rate = settings.weight_decay, settings.learning_rate
    if settings.kind == "adamw":
        group = {"params": list(network.parameters()), "peak_lr": rate}
        return [AdamW([group], lr=rate, weight_decay=decay)]
    inner: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, weight in network.named_parameters():
        is_hidden = weight.ndim > 1 and not name.startswith(("stem", "head"))
        (inner if is_hidden else others).append(weight)
    peak = settings.muon_learning_rate
    return [
        Muon([{"params": inner, "peak_lr": peak}], lr=peak, weight_decay=decay),
        AdamW([{"params": others, "peak_lr": rate}], lr=rate, weight_decay=decay),
    ]


def learning_rate(config: Config, step: int) -> float:
    """Share of its peak that is the rate of a step: it rises, then falls along a cosine; L-BFGS's stays 1."""
    settings = config.optimiser
    if settings.kind == "lbfgs":
        return 1.0
    rise = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    fall = 0.505 + 0.495 * math.cos(math.pi * step / config.run.n_steps)
    return rise * fall
