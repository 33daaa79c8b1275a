"""Printing: results on stdout, progress and messages on stderr. A stream that is closed is left out."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


class Bar(Protocol):
    """Shows how far something is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done."""


@contextmanager
def progress_bar(label: str, *, hidden: bool = False) -> Iterator[Bar]:
    """A progress bar on stderr, moved by calls with what is done, what there is, and a note.

    Nothing is shown where stderr is not a terminal.
    """
    if hidden or not _on_terminal():
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
    """Print a message on stderr, in one line."""
    if isinstance(what, OSError) and what.filename:
        what = f"{what.filename}: {what.strerror}"
    click.echo(f"duetto: {' '.join(str(what).splitlines())}", err=True)


def clear_bar() -> None:
    """Erase the line of a progress bar, so that another can be printed; the next move draws it again."""
    if _on_terminal():
        click.echo("\r\033[K", nl=False, err=True)


def print_path(path: str | Path) -> None:
    """Print a path on stdout."""
    click.echo(os.fsencode(path))  # the very bytes, so that other programs find a file of any name


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
