"""The printed tables of papers, and the recipe or method that reproduces each row."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from duetto.errors import ConfigError

FIGURES = ("gnsdr", "gsir", "gsar")
KINDS = ("network", "method", "oracle", "quoted")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        name: of the row, and of its folder.
        label: as in the paper.
        kind: "network" has a recipe to train, "method" and "oracle" are models by name, and "quoted" is
            printed in the paper but not run here.
        printed: GNSDR, GSIR and GSAR of the vocals in dB as the paper prints them, if it has the row.
        n_seeds: number of runs of a network, whose seeds are that of the recipe and those after it.
    """

    name: str
    label: str
    kind: str
    printed: tuple[float, float, float] | None = None
    n_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A statement of the paper that compares rows.

    Attributes:
        says: the statement.
        better: the row that should be better.
        than: the rows that it should be better than, of which the best counts.
    """

    says: str
    better: str
    than: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A table of a paper.

    Attributes:
        name: of the paper on the command line.
        title: of the paper.
        source: the tables with the printed figures, and their test clips.
        dataset: of the paper.
        sample_rate: of training and evaluation, in hertz.
        rows: in the paper's order.
        findings: its statements.
        elsewhere: another dataset -> the settings in `[data]` that the recipes need for it.
        recipes: prefix and suffix that make a row's name the name of its recipe.
    """

    name: str
    title: str
    source: str
    dataset: str
    sample_rate: int
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()
    elsewhere: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: tuple[str, str] = ("", "")

    def recipe(self, row: Row) -> str:
        """The name or path of the recipe of a network's row."""
        prefix, suffix = self.recipes
        return f"{prefix}{row.name}{suffix}"

    def settings(self, dataset: str) -> dict[str, Any]:
        """The settings in `[data]` that the recipes need for a dataset.

        Raises:
            ConfigError: a dataset for which the table has no settings.
        """
        if dataset == self.dataset:
            return {}
        if dataset not in self.elsewhere:
            known = ", ".join([self.dataset, *self.elsewhere])
            raise ConfigError(f"{self.name} has no settings for the dataset {dataset!r}; choose {known}")
        return self.elsewhere[dataset]

    def choose(self, names: tuple[str, ...]) -> tuple[Row, ...]:
        """The rows of these names, or all rows that can be run.

        Raises:
            ConfigError: a name of no row that can be run.
        """
        runnable = {row.name: row for row in self.rows if row.kind != "quoted"}
        if unknown := [name for name in names if name not in runnable]:
            raise ConfigError(
                f"{self.name} has no row {unknown[0]!r} to run; its rows: {', '.join(runnable)}"
            )
        return tuple(row for name, row in runnable.items() if not names or name in names)


def paper_names() -> list[str]:
    """Names of the papers whose tables ship."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_paper(paper: str) -> Paper:
    """Load a table that ships, by its name, or a TOML file with its recipes beside it.

    Raises:
        ConfigError: neither, or a file that is not such a table.
    """
    if paper in paper_names():
        path, recipes = _folder() / f"{paper}.toml", (f"{paper}/", "")
    elif paper.endswith(".toml") and Path(paper).is_file():
        path = Path(paper)
        recipes = (f"{path.parent}/", ".toml")
    else:
        raise ConfigError(
            f"no paper {paper!r}: give one of {', '.join(paper_names())} or the path of a .toml file"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**{**row, "printed": _figures(row)}) for row in values.pop("rows"))
        findings = tuple(
            Finding(**{**finding, "than": tuple(finding["than"])}) for finding in values.pop("findings", ())
        )
        loaded = Paper(name=path.stem, rows=rows, findings=findings, recipes=recipes, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not a valid table of a paper: {error}") from error
    _check(loaded)
    return loaded


def _folder() -> Path:
    return Path(str(resources.files("duetto.training.reproduce")))


def _figures(row: dict[str, Any]) -> tuple[float, float, float] | None:
    if "printed" not in row:
        return None
    gnsdr, gsir, gsar = map(float, row["printed"])
    return gnsdr, gsir, gsar


def _check(paper: Paper) -> None:
    names = [row.name for row in paper.rows]
    if len(set(names)) < len(names):
        raise ConfigError(f"{paper.name}: two rows have the same name")
    for row in paper.rows:
        if row.kind not in KINDS:
            raise ConfigError(
                f"{paper.name}: row {row.name!r} is of kind {row.kind!r}, not {', '.join(KINDS)}"
            )
    for finding in paper.findings:
        if unknown := {finding.better, *finding.than} - set(names):
            raise ConfigError(f"{paper.name}: a finding is about {sorted(unknown)[0]!r}, which is not a row")
