"""The command for everybody: separate."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetto.cli.console import (
    MODEL_OPTION,
    PASSES_OPTION,
    Bar,
    clear_bar,
    complain,
    print_path,
    progress_bar,
)
from duetto.cli.options import to_file_options, with_file_options

if TYPE_CHECKING:
    from duetto.batch.records import Record
    from duetto.batch.runner import Summary

EXAMPLE = Path(__file__).parents[1] / "audio" / "example.flac"


@click.command()
@click.argument("songs", nargs=-1, type=click.Path())
@click.option("--example", is_flag=True, help="Separate the little song that comes with Duetto.")
@MODEL_OPTION
@click.option(
    "-o",
    "--out",
    type=click.Path(),
    default="separated",
    show_default=True,
    help="Folder for the stems.",
)
@with_file_options
@click.option(
    "--mask",
    type=click.Choice(["ratio", "binary"]),
    default="ratio",
    show_default=True,
    help="Share every frequency softly, or give it to the louder one.",
)
@click.option(
    "--griffin-lim",
    "rounds",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="ROUNDS",
    help="Let the vocals find a phase of their own in so many rounds; 0 keeps the song's.",
)
@PASSES_OPTION
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Songs in work at a time, each in a process; they share the cores.",
)
@click.option(
    "--ray", metavar="ADDRESS", help='Let a Ray cluster do the work; "auto" finds one or starts its own.'
)
@click.option("--force", is_flag=True, help="Do again what is done and unchanged.")
def separate(songs: tuple[str, ...], example: bool, out: str, **options: Any) -> None:
    """Make two files of each song: vocals and accompaniment.

    They have the song's length, sample rate, channels and bits; played together they are the song again.
    A song named - is read from standard input. The paths of the new files are printed.

    SONGS are files, folders, quoted patterns such as "music/**/*.flac", playlists (.m3u), tables (.csv) and
    URLs. What an earlier run has done is skipped.
    """
    from duetto.batch.runner import Batch
    from duetto.cli.stdin import spooled
    from duetto.separation.separator import Separator

    songs += (str(EXAMPLE),) * example
    if not songs:
        raise click.UsageError("Name at least one song, or try --example.")
    file_options = to_file_options(options)
    separator = Separator(
        options["model"],
        mask=options["mask"],
        griffin_lim_iterations=options["rounds"],
        n_passes=options["passes"],
    )
    with ExitStack() as stack:
        names = [stack.enter_context(spooled(sys.stdin.buffer)) if name == "-" else name for name in songs]
        batch = Batch(names, out, file_options, separator=separator, force=options["force"])
        n_songs = len(batch.songs)
        label = f"{n_songs} songs" if n_songs > 1 else Path(batch.songs[0].name).name
        display = _Display(out, stack.enter_context(progress_bar(label)), n_songs)
        summary = batch.run(
            jobs=options["jobs"], ray=options["ray"], on_done=display.song, progress=display.samples
        )
    if n_songs > 1 or summary.n_skipped:
        complain(_in_words(summary))
    if summary.n_failed:
        sys.exit(1)


class _Display:
    """Prints what becomes of the songs, and moves the bar."""

    def __init__(self, out: str, bar: Bar, n_songs: int) -> None:
        self._out, self._bar, self._n_songs = out, bar, n_songs
        self._n_finished, self._note = 0, ""

    def samples(self, done: int, total: int) -> None:
        """Move within a song."""
        share = 1000 * done // max(total, 1)
        self._bar(1000 * self._n_finished + min(share, 1000), 1000 * self._n_songs, self._note)

    def song(self, record: "Record", summary: "Summary") -> None:
        """Say what became of a song."""
        from duetto.batch.storage import join

        clear_bar()
        for output in record.outputs.values():
            print_path(join(self._out, output.path))
        if record.error:
            complain(record.error)
        for note in record.notes if record.status == "done" else ():
            complain(note)
        if record.n_clipped and record.status == "done":
            complain(
                f"{record.song}: {record.n_clipped} samples were too loud and clipped; --float32 keeps them"
            )
        self._n_finished = summary.n_finished
        self._note = f"{summary.speed:.0f} x real time" if self._n_songs > 1 else ""
        self.samples(0, 1)


def _in_words(summary: "Summary") -> str:
    parts = [f"{summary.n_done} of {summary.n_songs} songs done"]
    if summary.n_skipped:
        parts.append(f"{summary.n_skipped} skipped as done before (--force does them again)")
    if summary.n_failed:
        parts.append(f"{summary.n_failed} failed")
    if summary.n_done:
        audio, seconds = summary.audio_seconds, summary.seconds
        parts.append(f"{audio:.0f} s of audio in {seconds:.1f} s, {summary.speed:.0f} x real time")
    return "; ".join(parts)
