"""All rows of a paper's table, one after the other, and the table itself."""

import json
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from duetto.audio.atomic import replacing
from duetto.errors import DuettoError, MetricError
from duetto.evaluation.bootstrap import INTERVAL
from duetto.evaluation.datasets import load_tracks
from duetto.evaluation.evaluator import AGGREGATION, PROTOCOL
from duetto.training.data.resampling import at_sample_rate
from duetto.training.reproduce.figures import draw
from duetto.training.reproduce.runs import Laboratory, Result, Watch, make, read, unseen, vocals_gnsdr
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
    watch: Watch = unseen,
) -> tuple[Path, dict[str, str]]:
    """Make a paper's table again: train, score, compare.

    Every row has its folder in `out`. A row that is trained and scored is read, an unfinished run is resumed.
    The table holds all rows that have scores, those of former calls as well.

    Args:
        paper: "huang2014", "fan2017", or the path of a table in a TOML file with its recipes beside it.
        data: folder of the dataset.
        out: folder of the runs, and of TABLE.md, TABLE.json and the pictures.
        rows: names of the rows to work on, by default all.
        dataset: another than the paper's, if the table is prepared for it.
        jobs: tracks scored at a time, by default one per core.
        watch: shows what is being done.

    Returns:
        The path of TABLE.md, and why rows failed, by name; the other rows are in the table.

    Raises:
        ConfigError: no such paper or row.
        DatasetError: the dataset is incomplete.
        OSError: the table cannot be written.
    """
    described = load_paper(paper)
    chosen = described.choose(tuple(rows))
    dataset = dataset or described.dataset
    described.settings(dataset)  # refuses what it is not prepared for
    tracks = load_tracks(dataset, data, split="test")
    lab = Laboratory(
        paper=described,
        data=Path(data),
        dataset=dataset,
        out=Path(out),
        tracks=[at_sample_rate(track, described.sample_rate) for track in tracks],
        jobs=jobs,
        watch=watch,
    )
    failed: dict[str, str] = {}
    for row in chosen:
        try:
            make(lab, row)
        except (DuettoError, OSError) as error:
            failed[row.name] = str(error)
    results = _results(lab, failed)
    table = tabulate(described, results, dataset=dataset, n_tracks=len(tracks))
    _write(lab.out / f"{TABLE}.json", json.dumps(table, indent=1))
    _write(lab.out / f"{TABLE}.md", markdown(table))
    draw(lab, results)
    return lab.out / f"{TABLE}.md", failed


def tabulate(paper: Paper, results: dict[str, Result], *, dataset: str, n_tracks: int) -> dict[str, Any]:
    """The table as it goes into JSON; a row without a result has its printed figures alone."""
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
        entry["n_tracks"] = len(result.scores.names)
        entry["n_songs"] = len(set(result.scores.songs))
        entry["measured"] = {
            source: {metric: vars(mean) for metric, mean in means.items()}
            for source, means in result.scores.means().items()
        }
        entry |= result.about
    return entry


def _finding(finding: Finding, results: dict[str, Result]) -> dict[str, Any] | None:
    """How much better one row is than the best of others; None until all of them have their scores."""
    if not {finding.better, *finding.than} <= results.keys():
        return None
    than = max((results[name] for name in finding.than), key=vocals_gnsdr)
    better = results[finding.better]
    found = {
        "says": finding.says,
        "better": better.row.label,
        "than": than.row.label,
        "difference": {
            metric: vars(mean) for metric, mean in better.scores.difference(than.scores, "vocals").items()
        },
    }
    others = [row.printed for name in finding.than if (row := results[name].row).printed]
    if better.row.printed and others:
        printed = zip(FIGURES, better.row.printed, max(others), strict=True)
        found["printed"] = {metric: one - other for metric, one, other in printed}
    return found


def _results(lab: Laboratory, failed: Container[str]) -> dict[str, Result]:
    """The rows that have their scores, by name."""
    results = {}
    for row in lab.paper.rows:
        if row.name not in failed:
            with suppress(MetricError):  # not scored yet
                results[row.name] = read(lab, row)
    return results


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
