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
    help="Bits per weight. With 8 the file is half as large as with 16, and the weights are less exact; with "
    "fewer it is as large as with 8, but compresses better.",
)
@click.option("--metrics", type=PATH, help="scores.json of `duetto evaluate`, to be kept in the model file.")
def export(run: Path, output: Path | None, bits: str, metrics: Path | None) -> None:
    """Make a model file (.onnx) of a training run.

    RUN is the folder that `duetto train` wrote. The model file has the weights in its best.safetensors
    and all metadata; `duetto separate --model` accepts its path.
    """
    from duetto.training.exporter import Bits, export_run

    print_path(export_run(run, output, bits=cast(Bits, int(bits)), metrics=metrics).path)
