"""One row of a table: trains and scores it as far as that is not done, and reads its results."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from duetto.errors import ConfigError, MetricError, ModelError
from duetto.evaluation.evaluator import evaluate_tracks, find_system
from duetto.evaluation.report import PROTOCOL, Report
from duetto.evaluation.tracks import Track
from duetto.models.onnx_model import OnnxModel
from duetto.training.checkpoint import BEST, CONFIG, SUMMARY, RunProgress
from duetto.training.config import Config
from duetto.training.config_io import load_config, read_config
from duetto.training.exporter import export_run
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
        out: folder of the table, with a folder for each row.
        tracks: the tracks that are scored.
        jobs: number of tracks that are scored at a time, by default one per core.
        display: shows the progress of each step.
    """

    paper: Paper
    data: Path
    dataset: str
    out: Path
    tracks: Sequence[Track]
    jobs: int | None = None
    display: ProgressDisplay = no_display


@dataclass(frozen=True)
class Result:
    """A row that has scores.

    Attributes:
        row: the row.
        report: its scores.
        about: of its training: number of weights, optimiser, steps, seed, git revision, time.
    """

    row: Row
    report: Report
    about: dict[str, Any]


def vocals_gnsdr(result: Result) -> float:
    """The score by which rows are ranked: -inf if an estimate is silent."""
    return result.report.means["vocals"].gnsdr


def make(paper_run: PaperRun, row: Row) -> Result:
    """Train and score a row, without repeating what is done.

    Raises:
        DuettoError: as for training, export and evaluation.
        OSError: a file cannot be written.
    """
    if row.kind == "network":
        train_row(paper_run, row)
    score_row(paper_run, row)
    return read(paper_run, row)


def read(paper_run: PaperRun, row: Row) -> Result:
    """Read a row's results from its folder.

    Raises:
        MetricError: it has no scores, or scores of other weights.
    """
    if not _is_scored(paper_run, row):
        raise MetricError(f"{row.name} has no scores yet")
    folder = paper_run.out / row.name
    about = _about_run(folder) if row.kind == "network" else {}
    return Result(row, Report.load(folder / SCORES, [track.name for track in paper_run.tracks]), about)


def recipe(paper_run: PaperRun, row: Row) -> Config:
    """The configuration of a network's row on the dataset of this run."""
    settings = {"dataset": paper_run.dataset, **paper_run.paper.settings(paper_run.dataset)}
    overrides = [f"data.{key}={json.dumps(value)}" for key, value in settings.items()]
    return load_config(paper_run.paper.recipe(row), overrides)


def train_row(paper_run: PaperRun, row: Row) -> None:
    """Train a network, or resume its training, and export its model file.

    Raises:
        ConfigError: its folder holds a run with another configuration.
        DuettoError: as for `train` and `export_run`.
    """
    config, folder = recipe(paper_run, row), paper_run.out / row.name
    if not (folder / SUMMARY).exists():
        with paper_run.display(f"{row.name}, training") as bar:

            def show(progress: RunProgress, values: dict[str, float]) -> None:
                bar(progress.step, config.run.n_steps, f"loss {values['loss']:.4g}")

            train(config, paper_run.data, folder, resume=True, on_step=show)
    elif read_config(folder / CONFIG) != config:
        raise ConfigError(f"{folder} is a run with another configuration; move it or choose another --output")
    if not (_is_scored(paper_run, row) and _has_model(folder)):
        export_run(folder, model_file(folder))


def score_row(paper_run: PaperRun, row: Row) -> None:
    """Score a row on the test split, unless it has scores of the same weights.

    Raises:
        DuettoError: as for `evaluate_tracks`.
        OSError: the scores cannot be written.
    """
    if _is_scored(paper_run, row):
        return
    folder = paper_run.out / row.name
    _, separate = find_system(model_file(folder) if row.kind == "network" else row.name)
    with paper_run.display(f"{row.name}, scoring") as bar:
        report = evaluate_tracks(separate, paper_run.tracks, jobs=paper_run.jobs, progress=bar)
    report.save(folder / SCORES, about=_key(paper_run, row))


def _is_scored(paper_run: PaperRun, row: Row) -> bool:
    """Whether there are scores of these weights and tracks; scores.json is written last."""
    try:
        stored = json.loads((paper_run.out / row.name / SCORES / "scores.json").read_text(encoding="utf-8"))
        return bool(_key(paper_run, row).items() <= stored.items())
    except (OSError, ValueError, AttributeError):
        return False


def _key(paper_run: PaperRun, row: Row) -> dict[str, str]:
    """The entries of scores.json that say of what the scores are."""
    names = "\n".join(track.name for track in paper_run.tracks)
    key = {
        "model": row.name,
        "dataset": paper_run.dataset,
        "split": "test",
        "protocol": PROTOCOL,
        "tracks": hashlib.sha256(names.encode()).hexdigest(),
    }
    if row.kind == "network":
        key["weights"] = hashlib.sha256((paper_run.out / row.name / BEST).read_bytes()).hexdigest()
    return key


def model_file(folder: Path) -> Path:
    """The path of the model file in a row's folder."""
    return folder / f"{folder.name}.onnx"


def _has_model(folder: Path) -> bool:
    """Whether there is a model file that this version can open."""
    try:
        OnnxModel(model_file(folder))
    except ModelError:
        return False
    return True


def _about_run(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    config = read_config(folder / CONFIG)
    return {
        "n_parameters": OnnxModel(model_file(folder)).metadata.n_parameters,
        "optimiser": config.optimiser.kind,
        "n_steps": summary["step"],
        "best_step": summary["best_step"],
        "dev_gnsdr": summary["best_gnsdr"],
        "seed": config.run.seed,
        "commit": summary.get("commit"),
        "seconds": summary["seconds"],
    }
