"""One row of a table: train what is not trained, score what is not scored, tell what came out."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from duetto.errors import ConfigError, MetricError, ModelError
from duetto.evaluation.datasets import Track
from duetto.evaluation.evaluator import evaluate_tracks, find_contender
from duetto.models.onnx_model import Bundle
from duetto.training.checkpoint import BEST, CONFIG, SUMMARY, Progress
from duetto.training.config import Config
from duetto.training.config_io import load_config, read_config
from duetto.training.exporter import export_run
from duetto.training.reproduce.paired_intervals import TrackTable, read_scores
from duetto.training.reproduce.spec import Paper, Row
from duetto.training.trainer import train

SCORES = "scores"


class Bar(Protocol):
    """Shows how far something is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """So much is done of so much."""


Watch = Callable[[str], AbstractContextManager[Bar]]
"""From what is being done to a bar that shows it."""


def unseen(_: str) -> AbstractContextManager[Bar]:
    """Shows nothing."""
    return nullcontext(lambda done, total, note="": None)


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Where a table is made.

    Attributes:
        paper: whose.
        data: folder of the dataset.
        dataset: its name.
        out: a folder for each row, and the table.
        tracks: that are scored.
        jobs: of them in work at a time, by default one per core.
        watch: shows what is being done.
    """

    paper: Paper
    data: Path
    dataset: str
    out: Path
    tracks: Sequence[Track]
    jobs: int | None = None
    watch: Watch = unseen


@dataclass(frozen=True)
class Result:
    """A row that has its scores.

    Attributes:
        row: which.
        scores: of the tracks.
        about: how it came about: weights, optimiser, steps, seed, commit, time.
    """

    row: Row
    scores: TrackTable
    about: dict[str, Any]


def vocals_gnsdr(result: Result) -> float:
    """What rows are ranked by; a row with a silent estimate comes last."""
    mean = result.scores.means()["vocals"]["gnsdr"].mean
    return -math.inf if mean is None else mean


def make(lab: Laboratory, row: Row) -> Result:
    """Bring a row to its scores; what is done is not done again.

    Raises:
        DuettoError: whatever keeps it from them.
        OSError: a file cannot be written.
    """
    if row.kind == "network":
        train_row(lab, row)
    score_row(lab, row)
    return read(lab, row)


def read(lab: Laboratory, row: Row) -> Result:
    """A row as it stands in its folder.

    Raises:
        MetricError: it has no scores, or those of other weights.
    """
    if not _is_scored(lab, row):
        raise MetricError(f"{row.name} has no scores yet")
    folder = lab.out / row.name
    about = _about_run(folder) if row.kind == "network" else {}
    return Result(row, read_scores(folder / SCORES, lab.tracks), about)


def recipe(lab: Laboratory, row: Row) -> Config:
    """What trains a network's row on the laboratory's dataset."""
    settings = {"dataset": lab.dataset, **lab.paper.settings(lab.dataset)}
    overrides = [f"data.{key}={json.dumps(value)}" for key, value in settings.items()]
    return load_config(lab.paper.recipe(row), overrides)


def train_row(lab: Laboratory, row: Row) -> None:
    """Train a network until its run is finished, from where it stopped, and export its bundle.

    Raises:
        ConfigError: its folder holds a run with another configuration.
        DuettoError: as for `train` and `export_run`.
    """
    config, folder = recipe(lab, row), lab.out / row.name
    if not (folder / SUMMARY).exists():
        with lab.watch(f"{row.name}, training") as bar:

            def show(progress: Progress, values: dict[str, float]) -> None:
                bar(progress.step, config.run.n_steps, f"loss {values['loss']:.4g}")

            train(config, lab.data, folder, resume=True, on_step=show)
    elif read_config(folder / CONFIG) != config:
        raise ConfigError(f"{folder} is a run with another configuration; move it or choose another --output")
    if not (_is_scored(lab, row) and _has_bundle(folder)):
        export_run(folder, bundle(folder))


def score_row(lab: Laboratory, row: Row) -> None:
    """Score a row on the test split, unless the scores of the same weights are there.

    Raises:
        DuettoError: as for `evaluate_tracks`.
        OSError: the scores cannot be written.
    """
    if _is_scored(lab, row):
        return
    folder = lab.out / row.name
    _, separate = find_contender(bundle(folder) if row.kind == "network" else row.name)
    with lab.watch(f"{row.name}, scoring") as bar:
        report = evaluate_tracks(separate, lab.tracks, jobs=lab.jobs, progress=bar)
    report.save(folder / SCORES, about=_key(lab, row))


def _is_scored(lab: Laboratory, row: Row) -> bool:
    """Whether there are scores, of these weights and tracks; scores.json is the last file of a scoring."""
    try:
        said = json.loads((lab.out / row.name / SCORES / "scores.json").read_text(encoding="utf-8"))
        return bool(_key(lab, row).items() <= said.items())
    except (OSError, ValueError, AttributeError):
        return False


def _key(lab: Laboratory, row: Row) -> dict[str, str]:
    """What scores depend on."""
    names = "\n".join(track.name for track in lab.tracks)
    key = {
        "model": row.name,
        "dataset": lab.dataset,
        "split": "test",
        "tracks": hashlib.sha256(names.encode()).hexdigest(),
    }
    if row.kind == "network":
        key["weights"] = hashlib.sha256((lab.out / row.name / BEST).read_bytes()).hexdigest()
    return key


def bundle(folder: Path) -> Path:
    """The bundle of a row's folder."""
    return folder / f"{folder.name}.onnx"


def _has_bundle(folder: Path) -> bool:
    """Whether there is one that this version can open."""
    try:
        Bundle(bundle(folder))
    except ModelError:
        return False
    return True


def _about_run(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    config = read_config(folder / CONFIG)
    return {
        "n_parameters": Bundle(bundle(folder)).metadata.n_parameters,
        "optimiser": config.optimiser.kind,
        "n_steps": summary["step"],
        "best_step": summary["best_step"],
        "dev_gnsdr": summary["best_gnsdr"],
        "seed": config.run.seed,
        "commit": summary.get("commit"),
        "seconds": summary["seconds"],
    }
