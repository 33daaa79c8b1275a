"""The command `reproduce`."""

import sys
from pathlib import Path

import click

from duetto.cli.console import complain, print_path, progress_bar
from duetto.cli.options import DATA_OPTION, Command, jobs_option, output_option, settings_option


@click.command(cls=Command)
@click.argument("paper")
@DATA_OPTION
@output_option("runs/PAPER, or runs/PAPER-DATASET", "Folder of the runs and of the table.")
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="ROW",
    show_default="all",
    help="Train and score only this row; may be given several times.",
)
@click.option(
    "--dataset", show_default="the paper's", help="Another dataset that the table has settings for."
)
@settings_option("all recipes")
@jobs_option("tracks that are scored")
def reproduce(
    paper: str,
    data: Path,
    output: Path | None,
    rows: tuple[str, ...],
    dataset: str | None,
    overrides: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Reproduce the tables of a paper.

    PAPER is huang2014 or fan2017, or the path of a .toml file. Trains every row of the table that has no
    finished run, scores it, and writes TABLE.md, TABLE.json and figures with our results beside the published
    ones. After an interruption, the same command resumes.
    """
    import logging

    from duetto.training.reproduce.paper_runner import reproduce as run

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    folder = output or Path("runs") / (Path(paper).stem + (f"-{dataset}" if dataset else ""))
    table, failed = run(
        paper, data, folder, rows=rows, dataset=dataset, overrides=overrides, jobs=jobs, display=progress_bar
    )
    print_path(table)
    for row, reason in failed.items():
        complain(f"{row}: {reason}")
    if failed:
        sys.exit(1)
