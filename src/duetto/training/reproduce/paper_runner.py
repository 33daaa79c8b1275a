"""Runs all rows of a paper's table and writes the table."""

import json
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duetto.errors import DuettoError, MetricError
from duetto.evaluation.bootstrap import INTERVAL, Interval
from duetto.evaluation.datasets import load_tracks
from duetto.evaluation.report import AGGREGATION, PROTOCOL
from duetto.training.checkpoint import write_whole
from duetto.training.data.sources import at_sample_rate
from duetto.training.reproduce.figures import draw
from duetto.training.reproduce.runs import (
    PaperRun,
    ProgressDisplay,
    Result,
    make,
    no_display,
    read,
    row_runs,
)
from duetto.training.reproduce.spec import FIGURES, Finding, Row, load_paper
from duetto.training.reproduce.tables import markdown

TABLE = "TABLE"
SEEDS = "; over seeds as well in rows of several runs"


def reproduce(
    paper: str,
    data: str | Path,
    out: str | Path,
    *,
    rows: Sequence[str] = (),
    dataset: str | None = None,
    overrides: Sequence[str] = (),
    jobs: int | None = None,
    display: ProgressDisplay = no_display,
) -> tuple[Path, dict[str, str]]:
    """Reproduce a paper's table: train, score, compare.

    Every run of a row has its folder in `out`. One that is trained and scored is read; an unfinished one is
    resumed. The table holds all rows that have scores, including those of earlier calls, but not networks
    that were trained with other settings.

    Args:
        paper: "huang2014", "fan2017", or the path of a table in a TOML file with its recipes beside it.
        data: folder of the dataset.
        out: folder of the runs, and of TABLE.md, TABLE.json and the figures.
        rows: names of the rows to run, by default all.
        dataset: another dataset than the paper's, if the table has settings for it.
        overrides: settings "key=value" that replace those of every recipe.
        jobs: number of tracks that are scored at a time, by default one per core.
        display: shows the progress of each step.

    Returns:
        The path of TABLE.md, and the error messages of the rows that failed, by name.

    Raises:
        ConfigError: no such paper or row, or the table cannot be written.
        DatasetError: the dataset is incomplete.
        OSError: a figure cannot be written.
    """
    described = load_paper(paper)
    chosen = described.choose(tuple(rows))
    dataset = dataset or described.dataset
    described.settings(dataset)  # raises for other datasets
    tracks = load_tracks(dataset, data, split="test")
    paper_run = PaperRun(
        paper=described,
        data=Path(data),
        dataset=dataset,
        out=Path(out),
        tracks=[at_sample_rate(track, described.sample_rate) for track in tracks],
        overrides=overrides,
        jobs=jobs,
        display=display,
    )
    failed: dict[str, str] = {}
    for run in row_runs(chosen):
        if run.row.name not in failed:
            try:
                make(paper_run, run)
            except (DuettoError, OSError) as error:
                failed[run.row.name] = str(error)
    results = _results(paper_run, failed)
    table = tabulate(paper_run, results)
    write_whole(paper_run.out / f"{TABLE}.json", json.dumps(table, indent=1).encode())
    write_whole(paper_run.out / f"{TABLE}.md", markdown(table).encode())
    draw(paper_run, results)
    return paper_run.out / f"{TABLE}.md", failed


def tabulate(paper_run: PaperRun, results: dict[str, Result]) -> dict[str, Any]:
    """The content of TABLE.json; a row without a result has only its printed figures."""
    paper = paper_run.paper
    return {
        "paper": paper.name,
        "title": paper.title,
        "source": paper.source,
        "dataset": paper_run.dataset,
        "papers_dataset": paper.dataset,
        "split": "test",
        "n_tracks": len(paper_run.tracks),
        "settings": list(paper_run.overrides),
        "protocol": f"{PROTOCOL}; soft mask, mixture phase, at {paper.sample_rate} Hz",
        "aggregation": AGGREGATION,
        "interval": INTERVAL + (SEEDS if any(row.n_seeds > 1 for row in paper.rows) else ""),
        "rows": [_row(row, results.get(row.name)) for row in paper.rows],
        "findings": [
            found for finding in paper.findings if (found := _finding(finding, results)) is not None
        ],
    }


def _row(row: Row, result: Result | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": row.name, "label": row.label, "kind": row.kind}
    if row.printed:
        entry["printed"] = dict(zip(FIGURES, row.printed, strict=True))
    if result:
        tracks = result.reports[0].averaged
        entry["n_tracks"] = len(tracks)
        entry["n_songs"] = len({track.song for track in tracks})
        entry["measured"] = {
            source: _as_dicts(result.intervals(source)) for source in result.reports[0].means
        }
        entry |= result.about
    return entry


def _finding(finding: Finding, results: dict[str, Result]) -> dict[str, Any] | None:
    """The difference of one row to the best of others; None until all of them have scores."""
    if not {finding.better, *finding.than} <= results.keys():
        return None
    than = max((results[name] for name in finding.than), key=lambda result: result.vocals_gnsdr)
    better = results[finding.better]
    found = {
        "says": finding.says,
        "better": better.row.label,
        "than": than.row.label,
        "difference": _as_dicts(better.difference(than, "vocals")),
    }
    others = [row.printed for name in finding.than if (row := results[name].row).printed]
    if better.row.printed and others and better.row.printed != max(others):  # not two of ours for one row
        printed = zip(FIGURES, better.row.printed, max(others), strict=True)
        found["printed"] = {metric: one - other for metric, one, other in printed}
    return found


def _as_dicts(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {metric: asdict(interval) for metric, interval in intervals.items()}


def _results(paper_run: PaperRun, failed: Container[str]) -> dict[str, Result]:
    """The rows that have scores, by name."""
    results = {}
    for row in paper_run.paper.rows:
        if row.name not in failed:
            with suppress(MetricError):  # not scored yet
                results[row.name] = read(paper_run, row)
    return results
