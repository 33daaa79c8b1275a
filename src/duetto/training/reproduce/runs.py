"""The runs of a row: trains and scores them as far as that is not done, and reads their results."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from duetto.errors import ConfigError, MetricError
from duetto.evaluation.bootstrap import Interval
from duetto.evaluation.evaluator import evaluate_tracks, find_system
from duetto.evaluation.report import MEANS_OF, PROTOCOL, Report
from duetto.evaluation.tracks import Track
from duetto.training.checkpoint import BEST, CONFIG, SUMMARY, RunProgress
from duetto.training.config import Config
from duetto.training.config_io import load_config, read_config
from duetto.training.exporter import export_run
from duetto.training.networks import build_network
from duetto.training.reproduce.spec import Paper, Row
from duetto.training.trainer import train

SCORES = "scores"


class ReportsProgress(Protocol):
    """Displays the progress of a step."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are done."""


ProgressDisplay = Callable[[str], AbstractContextManager[ReportsProgress]]
"""A function from the name of a step to a display of its progress."""


def no_display(_: str) -> AbstractContextManager[ReportsProgress]:
    """Display nothing."""
    return nullcontext(lambda done, total, note="": None)


@dataclass(frozen=True, kw_only=True)
class PaperRun:
    """The inputs and outputs of reproducing a table.

    Attributes:
        paper: the paper.
        data: folder of the dataset.
        dataset: its name.
        out: folder of the table, with a folder for each run of each row.
        tracks: the tracks that are scored.
        overrides: settings "key=value" that replace those of every recipe.
        jobs: number of tracks that are scored at a time, by default one per core.
        display: shows the progress of each step.
    """

    paper: Paper
    data: Path
    dataset: str
    out: Path
    tracks: Sequence[Track]
    overrides: Sequence[str] = ()
    jobs: int | None = None
    display: ProgressDisplay = no_display


@dataclass(frozen=True)
class RowRun:
    """One run of a row.

    Attributes:
        row: the row.
        index: 0 has the seed of the recipe, 1 the next one and so on.
    """

    row: Row
    index: int = 0

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.row.name}-seed-{self.index}" if self.index else self.row.name


@dataclass(frozen=True)
class Result:
    """A row that has scores.

    Attributes:
        row: the row.
        reports: the scores of its runs.
        about: of a network: number of weights, optimiser, and of each run seed, steps, git revision and time.
    """

    row: Row
    reports: list[Report]
    about: dict[str, Any]

    @property
    def vocals_gnsdr(self) -> float:
        """The score by which rows are ranked: -inf if an estimate is silent."""
        return float(np.mean([report.means["vocals"].gnsdr for report in self.reports]))

    def intervals(self, source: str) -> dict[str, Interval]:
        """Each global mean over the runs, with its interval over songs and runs."""
        return {mean: self.reports[0].interval_of(self._values(source, mean)) for mean in MEANS_OF}

    def difference(self, other: "Result", source: str) -> dict[str, Interval]:
        """The mean difference to `other`, with its paired interval over songs and runs.

        Runs of the same seed are compared, and a row of one run with every run of the other row.

        Raises:
            MetricError: the reports are of different tracks.
        """
        self.reports[0].check_tracks(other.reports[0])
        counts = [len(result.reports) for result in (self, other) if len(result.reports) > 1]
        n_runs = min(counts, default=1)
        return {
            mean: self.reports[0].interval_of(
                self._values(source, mean)[:n_runs] - other._values(source, mean)[:n_runs]
            )
            for mean in MEANS_OF
        }

    def _values(self, source: str, mean: str) -> np.ndarray:
        return np.stack([report.values(source, mean) for report in self.reports])


def row_runs(rows: Sequence[Row]) -> list[RowRun]:
    """All runs of some rows: first those with the seeds of the recipes."""
    runs = [RowRun(row, index) for row in rows for index in range(row.n_seeds)]
    return sorted(runs, key=lambda run: run.index)


def make(paper_run: PaperRun, run: RowRun) -> None:
    """Train and score a run, without repeating what is done.

    Raises:
        DuettoError: as for training, export and evaluation.
        OSError: a file cannot be written.
    """
    if _is_scored(paper_run, run):
        return
    if run.row.kind == "network":
        _train(paper_run, run)
    _score(paper_run, run)


def read(paper_run: PaperRun, row: Row) -> Result:
    """Read a row's results from the folders of its runs.

    Raises:
        MetricError: none of them has scores, or they are damaged.
    """
    runs = [run for run in row_runs([row]) if _is_scored(paper_run, run)]
    if not runs:
        raise MetricError(f"{row.name} has no scores yet")
    names = [track.name for track in paper_run.tracks]
    reports = [Report.load(paper_run.out / run.name / SCORES, names) for run in runs]
    folders = [paper_run.out / run.name for run in runs]
    return Result(row, reports, _about_network(folders, reports) if row.kind == "network" else {})


def recipe(paper_run: PaperRun, run: RowRun) -> Config:
    """The configuration of a network's run on the dataset of this table."""
    name = paper_run.paper.recipe(run.row)
    settings = {"dataset": paper_run.dataset, **paper_run.paper.settings(paper_run.dataset)}
    overrides = [f"data.{key}={json.dumps(value)}" for key, value in settings.items()]
    overrides += paper_run.overrides
    config = load_config(name, overrides)
    return load_config(name, [*overrides, f"run.seed={config.run.seed + run.index}"]) if run.index else config


def _train(paper_run: PaperRun, run: RowRun) -> None:
    """Train a network, or resume its training, and export its model file."""
    config, folder = recipe(paper_run, run), paper_run.out / run.name
    if not (folder / SUMMARY).exists():
        with paper_run.display(f"{run.name}, training") as bar:

            def show(progress: RunProgress, values: dict[str, float]) -> None:
                bar(progress.step, config.run.n_steps, f"loss {values['loss']:.4g}")

            train(config, paper_run.data, folder, resume=True, on_step=show)
    elif read_config(folder / CONFIG) != config:
        raise ConfigError(f"{folder} is a run with another configuration; move it or choose another --output")
    export_run(folder, model_file(folder))


def _score(paper_run: PaperRun, run: RowRun) -> None:
    """Score a run on the test split."""
    folder = paper_run.out / run.name
    _, separate = find_system(model_file(folder) if run.row.kind == "network" else run.row.name)
    with paper_run.display(f"{run.name}, scoring") as bar:
        report = evaluate_tracks(separate, paper_run.tracks, jobs=paper_run.jobs, progress=bar)
    report.save(folder / SCORES, about=_key(paper_run, run))


def _is_scored(paper_run: PaperRun, run: RowRun) -> bool:
    """Whether there are scores of this configuration, weights and tracks; scores.json is written last.

    The weights of a run that has scores may have been deleted.
    """
    folder = paper_run.out / run.name
    try:
        if run.row.kind == "network" and read_config(folder / CONFIG) != recipe(paper_run, run):
            return False
        stored = json.loads((folder / SCORES / "scores.json").read_text(encoding="utf-8"))
        return bool(_key(paper_run, run).items() <= stored.items())
    except (OSError, ValueError, AttributeError, ConfigError):
        return False


def _key(paper_run: PaperRun, run: RowRun) -> dict[str, str]:
    """The entries of scores.json that say of what the scores are."""
    names = "\n".join(track.name for track in paper_run.tracks)
    key = {
        "model": run.name,
        "dataset": paper_run.dataset,
        "split": "test",
        "protocol": PROTOCOL,
        "tracks": hashlib.sha256(names.encode()).hexdigest(),
    }
    weights = paper_run.out / run.name / BEST
    if run.row.kind == "network" and weights.exists():
        key["weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return key


def model_file(folder: Path) -> Path:
    """The path of the model file in the folder of a run."""
    return folder / f"{folder.name}.onnx"


def _about_network(folders: Sequence[Path], reports: Sequence[Report]) -> dict[str, Any]:
    config = read_config(folders[0] / CONFIG)
    with torch.device("meta"):
        network = build_network(config.network, config.stft.n_fft // 2 + 1)
    return {
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "optimiser": config.optimiser.kind,
        "runs": [_about_run(*run) for run in zip(folders, reports, strict=True)],
    }


def _about_run(folder: Path, report: Report) -> dict[str, Any]:
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return {
        "seed": read_config(folder / CONFIG).run.seed,
        "n_steps": summary["step"],
        "best_step": summary["best_step"],
        "dev_gnsdr": summary["best_gnsdr"],
        "gnsdr": report.means["vocals"].gnsdr,
        "commit": summary.get("commit"),
        "seconds": summary["seconds"],
    }
