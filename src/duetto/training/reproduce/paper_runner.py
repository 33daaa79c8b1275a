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
    vocals_gnsdr,
)
from duetto.training.reproduce.spec import FIGURES, Finding, Paper, Row, load_paper
from duetto.training.reproduce.tables import markdown

TABLE = "TABLE"


def reproduce(
    paper: str,
    data: str | Path,
    out: str | Path,
    *,
    rows: Sequence[str] = (),
    dataset: str | None = None,
    jobs: int | None = None,
    display: ProgressDisplay = no_display,
) -> tuple[Path, dict[str, str]]:
    """Reproduce a paper's table: train, score, compare.

    Every row has its folder in `out`. A row that is trained and scored is read; an unfinished run is resumed.
    The table holds all rows that have scores, including those of earlier calls.

    Args:
        paper: "huang2014", "fan2017", or the path of a table in a TOML file with its recipes beside it.
        data: folder of the dataset.
        out: folder of the runs, and of TABLE.md, TABLE.json and the figures.
        rows: names of the rows to run, by default all.
        dataset: another dataset than the paper's, if the table has settings for it.
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
        jobs=jobs,
        display=display,
    )
    failed: dict[str, str] = {}
    for row in chosen:
        try:
            make(paper_run, row)
        except (DuettoError, OSError) as error:
            failed[row.name] = str(error)
    results = _results(paper_run, failed)
    table = tabulate(described, results, dataset=dataset, n_tracks=len(tracks))
    write_whole(paper_run.out / f"{TABLE}.json", json.dumps(table, indent=1).encode())
    write_whole(paper_run.out / f"{TABLE}.md", markdown(table).encode())
    draw(paper_run, results)
    return paper_run.out / f"{TABLE}.md", failed


def tabulate(paper: Paper, results: dict[str, Result], *, dataset: str, n_tracks: int) -> dict[str, Any]:
    """The content of TABLE.json; a row without a result has only its printed figures."""
    return {
        "paper": paper.name,
        "title": paper.title,
        "source": paper.source,
        "dataset": dataset,
        "papers_dataset": paper.dataset,
        "split": "test",
        "n_tracks": n_tracks,
        "protocol": f"{PROTOCOL}; soft mask, mixture phase, at {paper.sample_rate} Hz",
        "aggregation": AGGREGATION,
        "interval": INTERVAL,
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
        tracks = result.report.averaged
        entry["n_tracks"] = len(tracks)
        entry["n_songs"] = len({track.song for track in tracks})
        entry["measured"] = {
            source: _as_dicts(result.report.intervals(source)) for source in result.report.means
        }
        entry |= result.about
    return entry


def _finding(finding: Finding, results: dict[str, Result]) -> dict[str, Any] | None:
    """The difference of one row to the best of others; None until all of them have scores."""
    if not {finding.better, *finding.than} <= results.keys():
        return None
    than = max((results[name] for name in finding.than), key=vocals_gnsdr)
    better = results[finding.better]
    found = {
        "says": finding.says,
        "better": better.row.label,
        "than": than.row.label,
        "difference": _as_dicts(better.report.difference(than.report, "vocals")),
    }
    others = [row.printed for name in finding.than if (row := results[name].row).printed]
    if better.row.printed and others:
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
