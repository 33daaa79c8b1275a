"""The commands of those who train networks: train, evaluate, export and reproduce."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from duetto.cli.console import MODEL_OPTION, PASSES_OPTION, PATH, complain, print_path, progress_bar
from duetto.errors import DuettoError

if TYPE_CHECKING:
    from duetto.training.checkpoint import Progress

DATA_OPTION = click.option("--data", required=True, type=PATH, help="Folder that holds the dataset.")


@click.command()
@click.argument("recipe", default="drnn")
@DATA_OPTION
@click.option("-o", "--out", type=PATH, help="Folder of the run.  [default: runs/RECIPE]")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe."
)
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@click.option("--accelerator", default="auto", show_default=True, help='"cpu", "cuda", "mps" or "auto".')
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes per machine.",
)
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Machines.")
def train(recipe: str, data: Path, out: Path | None, overrides: tuple[str, ...], **options: Any) -> None:
    """Train a network on songs whose true parts are known.

    RECIPE is the name of one that ships, or a .toml file. Watch the run with: tensorboard --logdir runs
    """
    from duetto.training.config_io import load_config
    from duetto.training.trainer import train as run

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # each process would introduce itself
    config = load_config(recipe, overrides)
    folder = out or Path("runs") / Path(recipe).stem
    first = _is_first_process()
    shown: dict[str, float] = {}
    with progress_bar(config.name, hidden=not first) as bar:

        def on_step(progress: "Progress", values: dict[str, float]) -> None:
            shown.update(values)
            bar(progress.step, config.run.n_steps, _note(shown))

        try:
            progress = run(config, data, folder, on_step=on_step, **options)
        except DuettoError:
            if not first:  # the first process fails alike and says why
                sys.exit(1)
            raise
    if first:
        click.echo(
            f"{folder}: best dev GNSDR {progress.best_gnsdr:.2f} dB at step {progress.best_step} "
            f"of {progress.step}, {progress.seconds / 60:.1f} minutes"
        )


@click.command()
@click.argument("dataset")
@DATA_OPTION
@MODEL_OPTION
@click.option("--split", default="test", show_default=True, help='"train", "dev", "test" or "all".')
@click.option(
    "-o",
    "--out",
    type=PATH,
    help="Folder for the scores.  [default: scores/MODEL-DATASET-SPLIT]",
)
@PASSES_OPTION
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tracks in work at a time.  [default: one per core]",
)
def evaluate(
    dataset: str,
    data: Path,
    model: str,
    split: str,
    out: Path | None,
    passes: int | None,
    jobs: int | None,
) -> None:
    """Score a model on songs whose true parts are known.

    DATASET is mir1k, ikala, musdb, dsd100 or pairs. Prints a table of GNSDR, GSIR, GSAR and SI-SDR in
    decibels, the higher the better, and writes the scores of every track as JSON.

    MODEL may also be oracle-ratio, oracle-wiener, oracle-binary or oracle-phase: masks made from the true
    parts, the best of their kind.
    """
    from duetto.evaluation.datasets import load_tracks
    from duetto.evaluation.evaluator import evaluate_tracks, find_contender

    name, separate = find_contender(model, n_passes=passes)
    tracks = load_tracks(dataset, data, split=split)
    folder = out or Path("scores") / f"{name}-{dataset}-{split}"
    with progress_bar(f"{dataset} {split}") as bar:
        report = evaluate_tracks(separate, tracks, jobs=jobs, progress=bar)
    about = {"model": name, "dataset": dataset, "split": split} | ({"n_passes": passes} if passes else {})
    report.save(folder, about=about)
    click.echo(report.summary())
    complain(f"the scores of every track are in {folder}")


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "-o",
    "--out",
    type=PATH,
    help="The bundle.  [default: NAME.onnx beside the run's files]",
)
@click.option(
    "--bits",
    type=click.Choice(["4", "5", "6", "7", "8", "16", "32"]),
    default="16",
    show_default=True,
    help="Of a stored weight: half of them are half of the file, and less exact. "
    "Fewer than 8 take as much room as 8, but less in an archive.",
)
@click.option(
    "--metrics",
    type=PATH,
    help="scores.json of `duetto evaluate`, to go into the bundle.",
)
def export(run: Path, out: Path | None, bits: str, metrics: Path | None) -> None:
    """Make a model file of a training run.

    RUN is the folder that `duetto train` wrote. Its best weights become a bundle (.onnx), which
    `duetto separate --model` takes.
    """
    from duetto.training.exporter import Bits, export_run

    print_path(export_run(run, out, bits=cast(Bits, int(bits)), metrics=metrics).path)


@click.command()
@click.argument("paper")
@DATA_OPTION
@click.option("-o", "--out", type=PATH, help="Folder of runs and table.  [default: runs/PAPER]")
@click.option(
    "--row", "rows", multiple=True, metavar="ROW", help="Work on this row alone; may be given again."
)
@click.option("--dataset", help="Another dataset than the paper's, where the table is prepared for it.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tracks scored at a time.  [default: one per core]",
)
def reproduce(
    paper: str, data: Path, out: Path | None, rows: tuple[str, ...], dataset: str | None, jobs: int | None
) -> None:
    """Make a paper's table again, its figures beside ours.

    PAPER is huang2014 or fan2017, or a .toml file. Trains every row that has no finished run, scores it, and
    writes TABLE.md, TABLE.json and pictures. Stopped at any moment, the same command goes on.
    """
    from duetto.training.reproduce.paper_runner import reproduce as run

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    folder = out or Path("runs") / (Path(paper).stem + (f"-{dataset}" if dataset else ""))
    table, failed = run(paper, data, folder, rows=rows, dataset=dataset, jobs=jobs, watch=progress_bar)
    print_path(table)
    for row, reason in failed.items():
        complain(f"{row}: {reason}")
    if failed:
        sys.exit(1)


def _note(values: dict[str, float]) -> str:
    score = values.get("dev/vocals/GNSDR")
    return f"loss {values['loss']:.4g}" + (f", dev GNSDR {score:.2f} dB" if score is not None else "")


def _is_first_process() -> bool:
    """Whether no launcher (Fabric's own, torchrun, Slurm) says that this is another than the first."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return not any(int(os.environ.get(name, "0")) for name in ranks)
