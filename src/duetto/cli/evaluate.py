"""The command `evaluate`."""

from pathlib import Path

import click

from duetto.cli.console import complain, progress_bar
from duetto.cli.options import DATA_OPTION, MODEL_OPTION, PASSES_OPTION, Command, jobs_option, output_option


@click.command(cls=Command)
@click.argument("dataset")
@DATA_OPTION
@MODEL_OPTION
@click.option(
    "--split", show_default="test; all of a dataset without splits", help='"train", "dev", "test" or "all".'
)
@output_option("scores/MODEL-DATASET-SPLIT", "Folder for the scores.")
@PASSES_OPTION
@click.option("--per-track", is_flag=True, help="Print the scores of each track as well.")
@jobs_option("tracks")
def evaluate(
    dataset: str,
    data: Path,
    model: str,
    split: str | None,
    output: Path | None,
    passes: int | None,
    per_track: bool,
    jobs: int | None,
) -> None:
    """Score a model on a dataset whose reference stems are known.

    DATASET is mir1k, ikala, musdb, musdb18, dsd100, pairs or songs; songs is a folder with a folder for each
    song, in which the names of sung tracks begin with vocals. Prints a table of GNSDR, GSIR, GSAR (BSS Eval
    v3) and SI-SDR in decibels, the higher the better, and writes the scores of every track as JSON.

    MODEL may also be one of the oracle masks oracle-ratio, oracle-wiener, oracle-binary and oracle-phase,
    which are computed from the references: upper bounds for any model of their kind.
    """
    from duetto.evaluation.datasets import MIR1K_TEST_CLIPS, default_split, load_tracks
    from duetto.evaluation.evaluator import evaluate_tracks, find_system

    name, separate = find_system(model, n_passes=passes)
    split = split or default_split(dataset)
    tracks = load_tracks(dataset, data, split=split)
    folder = output or Path("scores") / f"{name}-{dataset}-{split}"
    with progress_bar(f"{dataset} {split}") as bar:
        report = evaluate_tracks(separate, tracks, jobs=jobs, progress=bar)
    if (dataset, split) == ("mir1k", "test") and len(tracks) < MIR1K_TEST_CLIPS:
        complain(
            f"{data} holds {len(tracks)} of the {MIR1K_TEST_CLIPS} test clips; the papers score them all"
        )
    about = {"model": name, "dataset": dataset, "split": split} | ({"n_passes": passes} if passes else {})
    report.save(folder, about=about)
    if per_track:
        click.echo(report.per_track() + "\n")
    click.echo(report.summary())
    complain(f"the scores of every track are in {folder}")
