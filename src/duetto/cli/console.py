"""What all commands share: results on stdout, progress and complaints on stderr, and an option."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

PATH = click.Path(path_type=Path)
MODEL_OPTION, LIVE_MODEL_OPTION = (
    click.option(
        "-n",
        "--model",
        default=default,
        show_default=True,
        metavar="MODEL",
        help="Which network or method: a name that `duetto models` lists, or the path of an .onnx bundle.",
    )
    for default in ("duetto", "drnn")  # the second keeps up with a song frame by frame
)

PASSES_OPTION = click.option(
    "--passes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Hear each song so often, a little slower and faster, and take the mean: a little better, and as "
    "many times slower; by default as the model says, mostly 1.",
)


class Bar(Protocol):
    """Shows how far something is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """So much is done of so much."""


@contextmanager
def progress_bar(label: str, *, hidden: bool = False) -> Iterator[Bar]:
    """A progress bar on stderr, moved by calls with what is done, what there is, and a note.

    Where stderr is no terminal there is nothing to see.
    """
    if hidden or not sys.stderr.isatty():
        yield lambda done, total, note="": None
        return
    bar: ProgressBar[str | None]
    label = label if len(label) <= 32 else label[:31] + "…"
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=lambda note: note) as bar:

        def move(done: int, total: int, note: str = "") -> None:
            bar.length = total
            bar.update(done - bar.pos, note)

        yield move


def complain(what: object) -> None:
    """Say something on stderr, in one line."""
    if isinstance(what, OSError) and what.filename:
        what = f"{what.filename}: {what.strerror}"
    click.echo(f"duetto: {' '.join(str(what).splitlines())}", err=True)


def clear_bar() -> None:
    """Make room for a line where a progress bar may stand; it comes back when it moves."""
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)


def print_path(path: str | Path) -> None:
    """Print a path on stdout."""
    click.echo(os.fsencode(path))  # the very bytes, so that other programs find a file of any name
