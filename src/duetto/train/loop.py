"""The training loop: batches -> gradients -> steps -> dev scores -> checkpoints, on Lightning Fabric."""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor
from torch.optim import LBFGS, AdamW, Optimizer

from duetto.datasets import Track, load_tracks
from duetto.errors import ConfigError, DatasetError
from duetto.evaluation import evaluate
from duetto.separator import Separator
from duetto.stft import STFT
from duetto.train.checkpoint import (
    BEST,
    CONFIG,
    Progress,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from duetto.train.config import Config, OptimiserConfig
from duetto.train.estimator import NetworkEstimator
from duetto.train.features import magnitude
from duetto.train.log import RunLog
from duetto.train.losses import discriminative_loss
from duetto.train.mixing import RandomMixer, Sources, fixed_excerpts
from duetto.train.networks import build_network

SUMMARY = "summary.json"

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
            weights of the best dev GNSDR) and at the end summary.json.
        resume: go on from the newest checkpoint in `folder`.
        accelerator: "cpu", "cuda", ... as Lightning Fabric names them.
        devices: processes on each machine; a batch is divided among them, its result is that of one.
        nodes: machines.
        on_step: called after every step with the progress and the values that were logged.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: `folder` holds a run and `resume` is not set, or another configuration.
        DatasetError: the dataset is incomplete.
        ModelError: a damaged checkpoint.
    """
    folder = Path(folder)
    strategy = "ddp" if devices * nodes > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision=config.run.precision,
    )
    fabric.launch()
    if fabric.global_rank == 0:
        _claim(folder, config, resume)
    fabric.barrier()
    return _Run(fabric, config, Path(root), folder).go(on_step)


def _claim(folder: Path, config: Config, resume: bool) -> None:
    path = folder / CONFIG
    text = config.model_dump_json(indent=1)
    if path.exists():
        if not resume:
            raise ConfigError(
                f"{folder} already holds a run; add --resume to go on with it, or choose another"
            )
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
            raise ConfigError(
                f"{path} differs from this recipe; resume with the recipe and --set of that run"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class _Run:
    """One process's part of a run."""

    def __init__(self, fabric: Fabric, config: Config, root: Path, folder: Path) -> None:
        self.fabric = fabric
        self.config = config
        self.folder = folder
        self.stft = config.stft.build(centred=False)
        tracks = load_tracks(config.data.dataset, root, split=config.data.train)
        held_out = [track for track in tracks if track.song in config.data.held_out_songs]
        self.dev = load_tracks(config.data.dataset, root, split=config.data.dev) + held_out
        sources = [_load(track, config) for track in tracks if track not in held_out]
        self.batches = _batches(config, self.stft, sources, fabric.global_rank, fabric.world_size)

        torch.manual_seed(config.run.seed)
        bare = build_network(config.network, self.stft.n_bins)
        optimiser = build_optimiser(config.optimiser, bare)
        self.progress = Progress()
        saved = load_checkpoint(folder)
        if saved:
            weights, optimiser_state, self.progress = saved
            bare.load_state_dict(weights)
        self.bare = bare  # the same weights, without Fabric's wrapping
        self.network: _FabricModule
        self.optimiser: _FabricOptimizer
        self.network, self.optimiser = fabric.setup(bare, optimiser)
        if saved:
            self.optimiser.load_state_dict(optimiser_state)

    def go(self, on_step: OnStep | None) -> Progress:
        """Train to the last step or until the dev score stalls."""
        run, progress = self.config.run, self.progress
        log = RunLog(self.folder, progress.step) if self.fabric.global_rank == 0 else None
        started = time.monotonic() - progress.seconds
        while progress.step < run.n_steps and progress.n_stale < run.patience:
            values = self._step(progress.step)
            progress.step += 1
            progress.seconds = time.monotonic() - started
            due = progress.step % run.evaluate_every == 0 or progress.step == run.n_steps
            if due:
                values |= self._score()
            if log:
                log.scalars(progress.step, values)
                if due:
                    self._report(log)
            if due:
                self.fabric.barrier()
            if on_step:
                on_step(progress, values)
        if log:
            log.close()
            summary = {**vars(progress), "config": self.config.model_dump(mode="json")}
            (self.folder / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
        return progress

    def _step(self, step: int) -> dict[str, float]:
        batches = self.batches(step)
        settings = self.config.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, step)

        def closure() -> Tensor:
            self.optimiser.zero_grad()
            total = torch.zeros((), device=self.fabric.device)
            for index, (batch, share) in enumerate(batches):
                last = index == len(batches) - 1
                with self.fabric.no_backward_sync(self.network, enabled=not last):
                    loss = self._loss(batch) * share
                    self.fabric.backward(loss * self.fabric.world_size)  # DDP averages over processes
                total += loss.detach()
            summed = self.fabric.all_reduce(total, reduce_op="sum")
            assert isinstance(summed, Tensor)  # the wrapper is typed for collections as well
            return summed

        if settings.kind == "lbfgs":
            if settings.batch == "mini":  # curvature seen on one batch is false on the next
                self.optimiser.optimizer.state.clear()
            loss = self.optimiser.step(closure)
            norm = torch.stack(
                [p.grad.norm() for p in self.network.parameters() if p.grad is not None]
            ).norm()
        else:
            loss = closure()
            norm = self.fabric.clip_gradients(self.network, self.optimiser, max_norm=settings.clip_norm)
            self.optimiser.step()
        return {
            "loss": float(loss),
            "gradient_norm": float(norm),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
        }

    def _loss(self, batch: Tensor) -> Tensor:
        """Loss of sources (batch_size, 2, n_samples)."""
        batch = self.fabric.to_device(batch)
        targets = magnitude(self.stft, batch)
        mixture = magnitude(self.stft, batch.sum(1))
        return discriminative_loss(self.config.loss, targets, self.network(mixture).float())

    def _score(self) -> dict[str, float]:
        """Score the dev tracks in one process; every process learns of it."""
        values: dict[str, float] = {}
        if self.fabric.global_rank == 0:
            means = evaluate(self._separator(), self.dev, jobs=1).means
            for source, mean in means.items():
                values[f"dev/{source}/GNSDR"] = mean.gnsdr
                values[f"dev/{source}/GSIR"] = mean.gsir
                values[f"dev/{source}/GSAR"] = mean.gsar
        values = self.fabric.broadcast(values)
        gnsdr = values["dev/vocals/GNSDR"]
        self.progress.n_stale += 1
        if gnsdr > self.progress.best_gnsdr:
            self.progress.best_gnsdr, self.progress.best_step = gnsdr, self.progress.step
            self.progress.n_stale = 0
            if self.fabric.global_rank == 0:
                save_weights(self.folder / BEST, self.bare)
        return values

    def _report(self, log: RunLog) -> None:
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
        save_checkpoint(self.folder, self.bare, self.optimiser.state_dict(), self.progress)

    def _separator(self) -> Separator:
        return Separator(NetworkEstimator(self.config, self.bare))


Batches = list[tuple[Tensor, float]]


def _batches(
    config: Config, stft: STFT, sources: Sequence[Sources], rank: int, n_processes: int
) -> Callable[[int], Batches]:
    """What this process sees in a step: sources (batch_size, 2, n_samples), with their share of the loss."""
    settings = config.optimiser
    if settings.batch == "full":
        excerpts = fixed_excerpts(
            sources, stft, n_frames=config.mixing.n_frames, shift_samples=settings.shift_samples
        )
        own = torch.from_numpy(excerpts[rank::n_processes])
        parts = [(part, len(part) / len(excerpts)) for part in torch.split(own, settings.batch_size)]
        return lambda step: parts
    if settings.batch_size % n_processes:
        raise ConfigError(
            f"optimiser.batch_size = {settings.batch_size}: must be a multiple of the {n_processes} processes"
        )
    n_samples = stft.n_fft + (config.mixing.n_frames - 1) * stft.hop_length
    mixer = RandomMixer(sources, config.mixing, n_samples=n_samples, seed=config.run.seed)

    def draw(step: int) -> Batches:
        batch = mixer.batch(step, settings.batch_size)
        return [(torch.from_numpy(batch[rank::n_processes].copy()), 1 / n_processes)]

    return draw


def _load(track: Track, config: Config) -> Sources:
    audio = track.load()
    if audio.sample_rate != config.data.sample_rate:
        raise DatasetError(
            f"{track.name}: {audio.sample_rate} Hz, the recipe trains at {config.data.sample_rate} Hz; "
            "set data.sample_rate or resample the dataset"
        )
    vocals, accompaniment = (
        np.ascontiguousarray(audio.sources[name].mean(axis=0)) for name in ("vocals", "accompaniment")
    )
    return Sources(vocals=vocals, accompaniment=accompaniment)


def build_optimiser(settings: OptimiserConfig, network: torch.nn.Module) -> Optimizer:
    """The optimiser of a recipe; L-BFGS as in the authors' code, with a strong-Wolfe line search."""
    if settings.kind == "lbfgs":
        return LBFGS(
            network.parameters(),
            max_iter=settings.iterations,
            history_size=settings.corrections,
            line_search_fn="strong_wolfe",
        )
    return AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def learning_rate(config: Config, step: int) -> float:
    """Of a step: L-BFGS takes whole steps of its line search; AdamW warms up, then falls along a cosine."""
    settings = config.optimiser
    if settings.kind == "lbfgs":
        return 1.0
    rise = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    fall = 0.505 + 0.495 * math.cos(math.pi * step / config.run.n_steps)
    return settings.learning_rate * rise * fall
