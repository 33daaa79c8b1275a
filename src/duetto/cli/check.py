"""The command `check`."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from duetto.cli.console import complain
from duetto.cli.options import PATH, Command

if TYPE_CHECKING:
    from duetto.separation.null_test import FileCheck, NullTest


@click.command(cls=Command)
@click.argument("stems", nargs=-1, required=True, type=PATH)
@click.argument("mixture", type=PATH)
@click.option(
    "--tolerance",
    type=float,
    metavar="DBFS",
    show_default="the sum must be exact",
    help="Accept a residual up to this level, such as -40 for lossy files.",
)
def check(stems: tuple[Path, ...], mixture: Path, tolerance: float | None) -> None:
    """Check that stems sum to their mixture (a null test).

    STEMS are audio files, or one folder of them. Prints the residual, the mixture minus the stems, and the
    peak and the clipped samples of every file. The command fails if the residual is not zero; for
    floating-point samples, if it is more than one unit in the last place.
    """
    from duetto.separation.null_test import null_test

    result = null_test(stems[0] if len(stems) == 1 else stems, mixture)
    for file in (result.mixture, *result.stems):
        click.echo(_describe(file))
    for line in result.disagreements:
        complain(line)
    if not result.disagreements:
        click.echo(_residual(result))
    if result.lossy:
        names = ", ".join(str(path) for path in result.lossy)
        complain(f"in a lossy format, so no exact sum can be expected (see --tolerance): {names}")
    if not result.passes(tolerance):
        sys.exit(1)


def _describe(file: "FileCheck") -> str:
    info = file.info
    peak = f"{20 * math.log10(file.peak):.2f} dBFS" if file.peak else "silence"
    coding = f"{info.n_samples} samples, {info.n_channels} channels, {info.sample_rate} Hz, {info.subtype}"
    return f"{file.path}: peak {peak}, {file.n_clipped} clipped ({coding})"


def _residual(result: "NullTest") -> str:
    if result.residual == 0:
        return "null residual: 0, the stems sum to the mixture exactly"
    if result.bits is not None:
        size = f"{result.residual:.0f} of 2**{result.bits - 1}"
        return f"null residual: {size} ({result.residual_dbfs:.1f} dBFS) in {result.n_beyond} samples"
    beyond = f"{result.n_beyond} samples off by more than a unit in the last place"
    return f"null residual: {result.residual_dbfs:.1f} dBFS, {beyond}"
