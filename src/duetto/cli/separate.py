"""The command `separate`."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duetto.cli.console import Bar, clear_bar, complain, print_path, progress_bar
from duetto.cli.options import (
    MODEL_OPTION,
    PASSES_OPTION,
    Command,
    refuse_together,
    to_file_options,
    with_file_options,
)
from duetto.errors import AudioError

if TYPE_CHECKING:
    from duetto.batch.manifest import Record
    from duetto.batch.runner import Summary

EXAMPLE = Path(__file__).parents[1] / "audio" / "example.flac"


@click.command(cls=Command)
@click.argument("songs", nargs=-1, type=click.Path())
@click.option("--example", is_flag=True, help="Separate the short song that comes with Duetto.")
@MODEL_OPTION
@click.option("-o", "--output", type=click.Path(), default="separated", help="Folder or URL for the stems.")
@with_file_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Separate again, and overwrite existing stems, also those of other songs.",
)
@click.option(
    "--mask",
    type=click.Choice(["ratio", "binary"]),
    default="ratio",
    help="Soft ratio mask, or hard binary mask.",
)
@click.option(
    "--griffin-lim",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Griffin-Lim iterations for the phase of the vocals; 0 keeps the phase of the mixture.",
)
@PASSES_OPTION
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Number of worker processes, each of which separates one song at a time; they divide the cores.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help='Separate on the Ray cluster at this address; "auto" finds one, or starts one on this machine.',
)
@click.pass_context
def separate(
    context: click.Context, /, songs: tuple[str, ...], example: bool, output: str, **options: Any
) -> None:
    """Separate songs into vocals and accompaniment.

    The stems have the song's length, sample rate, channels and bit depth, and sum to the song. Their paths
    are printed.

    SONGS are files, folders, quoted patterns such as "music/**/*.flac", playlists (.m3u), tables (.csv),
    URLs, or - for a song from standard input. Songs whose stems an earlier run wrote are skipped.
    """
    from duetto.batch.runner import Batch
    from duetto.batch.storage import spooled
    from duetto.separation.separator import Separator

    songs += (str(EXAMPLE),) * example
    if not songs:
        raise click.UsageError("Name at least one song, or try --example.")
    refuse_together(context, "jobs", "ray", "the cluster says how many songs are separated at a time")
    if options["mask"] == "binary" and (options["passes"] or 1) > 1:
        raise click.UsageError("--mask binary and --passes exclude each other: a mean of masks is not binary")
    file_options = to_file_options(context)
    separator = Separator(
        options["model"],
        mask=options["mask"],
        griffin_lim_iterations=options["griffin_lim"],
        n_passes=options["passes"],
    )
    with ExitStack() as stack:
        if "-" in songs and sys.stdin is None:
            raise AudioError("standard input is closed, so no song can be read from it")
        names = [stack.enter_context(spooled(sys.stdin.buffer)) if name == "-" else name for name in songs]
        batch = Batch(names, output, file_options, separator=separator, overwrite=options["overwrite"])
        n_songs = len(batch.songs)
        label = f"{n_songs} songs" if n_songs > 1 else Path(batch.songs[0].name).name
        display = _Display(output, stack.enter_context(progress_bar(label)), n_songs)
        summary = batch.run(
            jobs=options["jobs"], ray=options["ray"], on_done=display.song, progress=display.samples
        )
    if n_songs > 1 or summary.n_skipped:
        complain(_in_words(summary))
    if summary.n_failed:
        sys.exit(1)


class _Display:
    """Prints the result of each song, and moves the progress bar."""

    def __init__(self, output: str, bar: Bar, n_songs: int) -> None:
        self._output, self._bar, self._n_songs = output, bar, n_songs
        self._n_finished, self._note = 0, ""
        self._said = set[str]()

    def samples(self, done: int, total: int) -> None:
        """Move the bar within a song."""
        permille = 1000 * done // max(total, 1)
        self._bar(1000 * self._n_finished + min(permille, 1000), 1000 * self._n_songs, self._note)

    def song(self, record: "Record", summary: "Summary") -> None:
        """Print the paths of a song's stems, or why it failed, and what else a user should know."""
        from duetto.batch.storage import join

        clear_bar()
        for stem in record.outputs.values():
            print_path(join(self._output, stem.path))
        if record.error:
            complain(record.error)
        for note in record.notes if record.status == "done" else ():
            if note not in self._said:  # what is true of all songs is said once
                self._said.add(note)
                complain(note)
        if record.n_clipped and record.status == "done":
            complain(f"{record.song}: {record.n_clipped} samples clipped; --bit-depth 32f avoids it")
        self._n_finished = summary.n_finished
        self._note = f"{summary.speed:.0f} x real time" if self._n_songs > 1 else ""
        self.samples(0, 1)


def _in_words(summary: "Summary") -> str:
    parts = [f"{summary.n_done} of {summary.n_songs} songs separated"]
    if summary.n_skipped:
        parts.append(f"{summary.n_skipped} skipped, their stems exist (--overwrite separates them again)")
    if summary.n_failed:
        parts.append(f"{summary.n_failed} failed")
    if summary.n_done:
        audio, seconds = summary.audio_seconds, summary.seconds
        parts.append(f"{audio:.0f} s of audio in {seconds:.1f} s, {summary.speed:.0f} x real time")
    return "; ".join(parts)
