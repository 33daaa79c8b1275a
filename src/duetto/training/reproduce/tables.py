"""Formats a table in JSON as Markdown."""

from collections.abc import Mapping
from typing import Any

SHOWN = ("gnsdr", "gsir", "gsar")
OPTIMISERS = {"adamw": "AdamW", "lbfgs": "L-BFGS"}


def markdown(table: Mapping[str, Any]) -> str:
    """The scores beside the printed ones, the comparisons of rows, and how the networks were trained."""
    parts = [f"# {table['title']}", about(table), scores(table), findings(table), training(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def about(table: Mapping[str, Any]) -> str:
    """The test set, the protocol, and settings other than those of the recipes."""
    changed = "".join(f" Settings of all recipes: `{setting}`." for setting in table["settings"])
    return (
        f"The paper's figures: {table['source']}. Ours: {table['n_tracks']} tracks of {table['dataset']} "
        f"{table['split']}; {table['protocol']}; {table['aggregation']}; in parentheses {table['interval']}. "
        f"All in dB.{changed}"
    )


def scores(table: Mapping[str, Any]) -> str:
    """Vocals with their intervals beside the paper's, and the accompaniment."""
    lines = [
        "| row | paper: GNSDR / GSIR / GSAR | ours: GNSDR | GSIR | GSAR | accompaniment |",
        "|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        cells = [row["label"], _slashed(row.get("printed", {}).get(key) for key in SHOWN)]
        if measured := row.get("measured"):
            cells += [_with_interval(measured["vocals"][key]) for key in SHOWN]
            cells.append(_slashed(measured["accompaniment"][key]["mean"] for key in SHOWN))
        else:
            cells += ["not run" if row["kind"] == "quoted" else "not yet", "", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def findings(table: Mapping[str, Any]) -> str:
    """The paper's statements, and the differences of the vocals' scores on the same tracks."""
    if not table["findings"]:
        return ""
    lines = [
        "| statement | rows | the paper's difference: GNSDR / GSIR / GSAR | ours: GNSDR | GSIR | GSAR |",
        "|---|---|---|---|---|---|",
    ]
    for found in table["findings"]:
        difference = found["difference"]
        cells = [
            f"{found['says']}: {verdict(difference['gnsdr'])}",
            f"{found['better']} less {found['than']}",
            _slashed((found.get("printed", {}).get(key) for key in SHOWN), sign="+"),
            *(_with_interval(difference[key], sign="+") for key in SHOWN),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(difference: Mapping[str, float | None]) -> str:
    """Whether the interval of a difference of GNSDR lies above 0."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return "undetermined"
    return "yes" if low > 0 else "no" if high < 0 else "not certain"


def training(table: Mapping[str, Any]) -> str:
    """How the networks were trained."""
    networks = [row for row in table["rows"] if "n_parameters" in row]
    if not networks:
        return ""
    lines = [
        "| row | recipe | weights | optimiser | seed | steps, best | dev GNSDR | GNSDR | minutes | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in networks:
        about = [
            row["label"],
            f"`{table['paper']}/{row['name']}`",
            f"{row['n_parameters']:,}",
            OPTIMISERS[row["optimiser"]],
        ]
        for run in row["runs"]:
            cells = [
                *about,
                str(run["seed"]),
                f"{run['n_steps']}, {run['best_step']}",
                f"{run['dev_gnsdr']:.2f}",
                f"{run['gnsdr']:.2f}",
                f"{run['seconds'] / 60:.1f}",
                str(run["commit"] or "unknown"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _slashed(values: Any, *, sign: str = "") -> str:
    shown = list(values)
    if any(value is None for value in shown):
        return ""
    return " / ".join(f"{value:{sign}.2f}" for value in shown)


def _with_interval(mean: Mapping[str, float | None], *, sign: str = "") -> str:
    if mean["mean"] is None:
        return "infinite"
    return f"{mean['mean']:{sign}.2f} ({mean['low']:{sign}.2f} to {mean['high']:{sign}.2f})"
