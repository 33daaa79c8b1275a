"""The command `export`."""

from pathlib import Path
from typing import cast

import click

from duetto.cli.console import print_path
from duetto.cli.options import PATH, Command, output_option


@click.command(cls=Command)
@click.argument("run", type=PATH)
@output_option("NAME.onnx in the folder of the run", "The model file.")
@click.option(
    "--bits",
    type=click.Choice(["4", "5", "6", "7", "8", "16", "32"]),
    default="16",
    help="Bits per weight: 8 make half the file that 16 make, and are less exact. Fewer than 8 take as much "
    "room as 8, but less in an archive.",
)
@click.option("--metrics", type=PATH, help="scores.json of `duetto evaluate`, to be kept in the model file.")
def export(run: Path, output: Path | None, bits: str, metrics: Path | None) -> None:
    """Make a model file (.onnx) of a training run.

    RUN is the folder that `duetto train` wrote. The model file holds the weights that the run kept and all
    metadata; `duetto separate --model` takes its path.
    """
    from duetto.training.exporter import Bits, export_run

    print_path(export_run(run, output, bits=cast(Bits, int(bits)), metrics=metrics).path)
