"""Many songs: found, handed out, and written down as they come back."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from duetto.batch import storage
from duetto.batch.executors import Executor, InProcess, Processes
from duetto.batch.inputs import Song, find_songs
from duetto.batch.manifest import Manifest, Record, RemoteManifest
from duetto.batch.worker import Progress, Work
from duetto.errors import ConfigError
from duetto.separation.separator import Separator
from duetto.separation.stem_writer import DEFAULT_OPTIONS, FileOptions, stem_paths


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far a batch is, or was in the end.

    Attributes:
        n_songs: songs in all.
        n_done: separated.
        n_skipped: found done and unchanged.
        n_failed: failed; the manifest tells why.
        audio_seconds: of the songs that were separated.
        seconds: since the start.
    """

    n_songs: int
    n_done: int = 0
    n_skipped: int = 0
    n_failed: int = 0
    audio_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def n_finished(self) -> int:
        """Songs that need no more work in this batch."""
        return self.n_done + self.n_skipped + self.n_failed

    @property
    def speed(self) -> float:
        """Seconds of audio per second."""
        return self.audio_seconds / max(self.seconds, 1e-9)

    def plus(self, record: Record, seconds: float) -> "Summary":
        """With one more song."""
        return replace(
            self,
            n_done=self.n_done + (record.status == "done"),
            n_skipped=self.n_skipped + (record.status == "skipped"),
            n_failed=self.n_failed + (record.status == "failed"),
            audio_seconds=self.audio_seconds + record.audio_seconds * (record.status == "done"),
            seconds=seconds,
        )


OnDone = Callable[[Record, Summary], None]


class Batch:
    """Songs, and what is to be done to them.

    Args:
        songs: files, folders, patterns, playlists, tables and URLs, as for `duetto separate`.
        out: folder or URL for the stems.
        options: what is written.
        separator: of a bundle.
        overwrite: whether to do again what an earlier batch has done.

    Attributes:
        songs: those found, each once.

    Raises:
        ConfigError: songs that would have the same stems, a list or template that cannot be used.
    """

    def __init__(
        self,
        songs: Iterable[str | os.PathLike[str]],
        out: str | os.PathLike[str],
        options: FileOptions,
        *,
        separator: Separator,
        overwrite: bool = False,
    ) -> None:
        self._work = Work.of(separator, os.fspath(out), options, overwrite=overwrite)
        self.songs = find_songs(songs, self._work.out)
        _refuse_shared_stems(separator.metadata.name, self.songs, options)

    def run(
        self,
        *,
        jobs: int = 1,
        ray: str | None = None,
        on_done: OnDone | None = None,
        progress: Progress | None = None,
    ) -> Summary:
        """Do the work, as `separate_files` says."""
        if jobs < 1:
            raise ConfigError(f"jobs={jobs}: choose 1 or more")
        start, summary = time.perf_counter(), Summary(n_songs=len(self.songs))
        work, songs = self._anywhere() if ray else (self._work, self.songs)
        executor = _executor(work, jobs=min(jobs, len(songs)), ray=ray, progress=progress)
        with _open_manifest(work.out) as manifest:
            try:
                with executor:
                    for record in _records(executor, songs, manifest):
                        summary = summary.plus(record, time.perf_counter() - start)
                        if on_done:
                            on_done(record, summary)
            finally:
                manifest.lost_worker = executor.lost_worker
        return replace(summary, seconds=time.perf_counter() - start)

    def _anywhere(self) -> tuple[Work, list[Song]]:
        """The same for workers that stand in other folders."""
        work = replace(self._work, out=storage.absolute(self._work.out))
        return work, [song._replace(name=song.key) for song in self.songs]


def separate_files(
    songs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "separated",
    options: FileOptions = DEFAULT_OPTIONS,
    *,
    separator: Separator | None = None,
    jobs: int = 1,
    ray: str | None = None,
    overwrite: bool = False,
    on_done: OnDone | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Take many songs apart; a song that fails does not stop the others.

    `manifest.jsonl` in the output folder gets a line per song. Songs that it tells to be done are skipped,
    if they, their stems, the options and the bundle are unchanged. The stems do not depend on `jobs` or
    `ray`. With `jobs` above 1 a script must guard its main part by `if __name__ == "__main__":`.

    Args:
        songs: files, folders, patterns, playlists, tables and URLs, as for `duetto separate`.
        out: folder or URL for the stems.
        options: what is written.
        separator: of a bundle; by default the default one.
        jobs: processes, which share the cores; 1 is this one.
        ray: "auto" or the address of a Ray cluster, which does the work instead.
        overwrite: whether to do again what was done.
        on_done: called with the record of each song when it ends, in any order, and how far the batch is.
        progress: with one job, called with the number of samples done and of all of the song in work.

    Returns:
        How many songs were done, skipped or failed, and how long it took.

    Raises:
        ConfigError: songs that would have the same stems, a list, template or output folder that cannot be
            used, an option out of range, an extra that is not installed.
        ModelError: no such bundle.

    Examples:
        >>> import duetto
        >>> def say(record, summary):
        ...     print(record.status, sorted(record.outputs))
        >>> duetto.separate_files(["*.flac"], "stems", on_done=say).n_done
        done ['accompaniment', 'vocals']
        1
        >>> duetto.separate_files(["*.flac"], "stems").n_skipped
        1
    """
    batch = Batch(songs, out, options, separator=separator or Separator(), overwrite=overwrite)
    return batch.run(jobs=jobs, ray=ray, on_done=on_done, progress=progress)


def _executor(work: Work, *, jobs: int, ray: str | None, progress: Progress | None) -> Executor:
    if not ray:
        return Processes(work, jobs) if jobs > 1 else InProcess(work, progress)
    try:
        from duetto.batch.ray import RayTasks
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs {error.name}, which is not installed; run pip install 'duetto[ray]'"
        ) from error
    return RayTasks(work, ray)


def _open_manifest(out: str) -> Manifest | RemoteManifest:
    return RemoteManifest(out) if storage.is_url(out) else Manifest(out)


def _records(
    executor: Executor, songs: Iterable[Song], manifest: Manifest | RemoteManifest
) -> Iterator[Record]:
    """The records of songs as they come, written down; only so many songs as needed are handed in ahead."""
    pending: dict[Future[Record], Record | None] = {}

    def finished() -> Iterator[Record]:
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            record, previous = future.result(), pending.pop(future)
            if (lasting := record.lasting) != previous:
                manifest.add(lasting)
            yield record

    for song in songs:
        previous = manifest.find(song.key)
        pending[executor.submit(song, previous)] = previous
        if len(pending) >= executor.n_ahead:
            yield from finished()
    while pending:
        yield from finished()


def _refuse_shared_stems(model: str, songs: Iterable[Song], options: FileOptions) -> None:
    """Before anything is separated."""
    stems = options.written
    taken: dict[int, Song] = {}
    for song in songs:
        template = song.fill(options.template)
        paths = stem_paths(model, song.name, "", template=template, container="", stems=stems)
        path = hash(os.path.normpath(paths[stems[0]]))  # as a number, for there may be millions
        if path in taken:
            raise ConfigError(
                f"{taken[path].name} and {song.name} would have the same stems; tell them apart with "
                "{parent} or {name} in the --template, or use another folder with --output"
            )
        taken[path] = song
