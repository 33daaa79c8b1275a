"""The command line: arguments and printing, nothing else. Rooms are imported when a command needs them."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from duetto import __version__
from duetto.cli.check import check
from duetto.cli.console import MODEL_OPTION, PATH, complain, print_path, progress_bar
from duetto.cli.research import evaluate, export, reproduce, train
from duetto.cli.separate import separate
from duetto.cli.stream import stream
from duetto.errors import DuettoError

if TYPE_CHECKING:
    from duetto.models.onnx_model import BundleMetadata

EXTRAS = {"matplotlib": "eval", "scipy": "eval", "threadpoolctl": "eval"} | dict.fromkeys(
    ("lightning_fabric", "onnx", "pydantic", "safetensors", "tensorboard", "torch"), "train"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(arguments, prog_name="duetto", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "duetto"
        complain(f"{error.format_message()} ({command} --help explains)")
        sys.exit(2)
    except click.Abort as error:
        terminated = isinstance(error.__cause__, _Terminated)
        complain("terminated" if terminated else "interrupted")
        sys.exit(143 if terminated else 130)
    except (DuettoError, OSError) as error:
        complain(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        complain(
            f"this needs {error.name}, which is not installed; run pip install 'duetto[{EXTRAS[error.name]}]'"
        )
        sys.exit(1)
    sys.exit(0)


class _InOrder(click.Group):
    """Lists its commands as they are written here, the one for everybody first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="duetto")
@click.pass_context
def cli(context: click.Context) -> None:
    """Take songs apart into voice and music.

    To make two files of a song, one with the singer and one with the band:

        duetto separate song.flac

    They appear in the folder "separated". Every command explains itself with --help.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@click.command()
@click.argument("names", nargs=-1)
@click.option("--verify", is_flag=True, help="Run each network on a known input and check its answer.")
@click.option("--json", "as_json", is_flag=True, help="Print all that the bundles say of themselves.")
def models(names: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the models, or describe some.

    NAMES are models that ship, conventional methods or paths of bundles; without any, all that have a name
    are listed.
    """
    from duetto.models.onnx_model import Bundle
    from duetto.models.registry import find_estimators, list_models

    found = [find_estimators(name)[0] for name in names or list_models()]
    bundles = [model for model in found if isinstance(model, Bundle)]
    methods = [model.metadata for model in found if not isinstance(model, Bundle)]
    if verify:
        for bundle in bundles:
            bundle.verify()
    if as_json:
        click.echo(f"[{', '.join(model.metadata.to_json() for model in found)}]")
        return
    for bundle in bundles:
        metadata = bundle.metadata
        size = f"{bundle.n_bytes / 1e6:.1f} MB"
        click.echo(f"{metadata.name}: {metadata.summary} ({size}, {metadata.sample_rate} Hz)")
        if names:
            click.echo(_card(metadata))
        if verify:
            click.echo("  verified: the network gives the answer recorded at export")
    for method in methods:
        click.echo(f"{method.name}: {method.summary} ({method.paper})")


def _card(metadata: "BundleMetadata") -> str:
    lines = [
        f"  trained on: {metadata.training_data}",
        f"  licence: {metadata.licence}",
        f"  weights: {metadata.n_parameters}, look-ahead: {metadata.look_ahead} frames",
    ]
    for source, means in metadata.metrics.get("means", {}).items():
        figures = ", ".join(f"{key.upper()} {means[key]:.2f}" for key in ("gnsdr", "gsir", "gsar"))
        lines.append(f"  {source}: {figures} dB ({metadata.metrics['protocol']})")
    return "\n".join(lines)


@click.command()
@click.argument("song", type=PATH)
@MODEL_OPTION
@click.option("-o", "--out", type=PATH, help="The picture.  [default: SONG.png in this folder]")
@click.option(
    "--max-frequency",
    type=click.FloatRange(min=0, min_open=True),
    default=8000,
    show_default=True,
    metavar="HERTZ",
    help="Top of the picture.",
)
def plot(song: Path, model: str, out: Path | None, max_frequency: float) -> None:
    """Draw a song, its vocals and its accompaniment.

    The picture shows three spectrograms: time from left to right, pitch from low to high, the louder the
    brighter.
    """
    from duetto.audio import load_audio
    from duetto.evaluation.plots import plot_spectrograms
    from duetto.separation.separator import Separator

    separator = Separator(model)
    audio, sample_rate = load_audio(song)
    with progress_bar(song.name) as bar:
        stems = separator.separate(audio, sample_rate, progress=bar)
    waveforms = {"mixture": audio, **stems}
    target = out or Path(f"{song.stem}.png")
    print_path(plot_spectrograms(waveforms, sample_rate, target, max_frequency=max_frequency))


for _command in (separate, check, stream, train, evaluate, export, reproduce, models, plot):
    cli.add_command(_command)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, taking the way out of Ctrl-C: through every context manager, so no partial file stays."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated
