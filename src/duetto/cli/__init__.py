"""The command line: arguments and printing. What a command needs is imported when it is called."""

import difflib
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from duetto import __version__
from duetto.cli.console import complain
from duetto.errors import DuettoError, DuettoWarning
from duetto.models.telemetry import disable_telemetry

COMMANDS = (
    "separate",
    "studio",
    "check",
    "stream",
    "train",
    "evaluate",
    "export",
    "reproduce",
    "models",
    "plot",
)

EXTRAS = (
    {"matplotlib": "eval", "scipy": "eval", "threadpoolctl": "eval"}
    | dict.fromkeys(("lightning_fabric", "onnx", "pydantic", "safetensors", "tensorboard", "torch"), "train")
    | dict.fromkeys(("fastapi", "uvicorn"), "studio")
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    if getattr(sys, "frozen", False):
        import multiprocessing

        multiprocessing.freeze_support()  # a worker process of a frozen program begins and ends here
    disable_telemetry()
    _occupy_closed_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            cli.main(arguments, prog_name="duetto", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "duetto"
        complain(f"{error.format_message().removesuffix('.')} (see {command} --help)")
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
        extra = EXTRAS[error.name]
        complain(
            f"this needs {error.name}, which is not installed: run pip install '.[{extra}]' in the clone of "
            "Duetto"
        )
        sys.exit(1)
    sys.exit(0)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    """Print our own warnings as messages, and others as Python does."""
    if issubclass(category, DuettoWarning):
        complain(f"warning: {message}")
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)


class _Commands(click.Group):
    """Imports a command when it is named; lists all, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:
                return None
            raise click.UsageError(f"No such command {cmd_name!r}: {_meant(cmd_name)}", ctx)
        command: click.Command = getattr(import_module(f"duetto.cli.{cmd_name}"), cmd_name)
        return command


def _meant(name: str) -> str:
    """What may have been meant by a command that there is not."""
    if Path(name).exists():
        return "did you mean duetto separate?"
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"did you mean {near[0]}?" if near else f"write one of {', '.join(COMMANDS)}"


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="duetto")
@click.pass_context
def cli(context: click.Context) -> None:
    """Separate songs into vocals and accompaniment.

    To write both stems of a song:

        duetto separate song.mp3

    They appear in the folder "separated". Every command has a --help of its own.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _occupy_closed_streams() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened, such as a stem, would get the descriptor 2, and what a library
    prints on stderr would end up in it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: every context manager is left, so no partial file stays."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated
