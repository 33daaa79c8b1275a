"""Batches: songs are found, separated, and recorded in the manifest as they are done."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from duetto.audio.formats import EXTENSIONS
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
    """The progress of a batch, or its result.

    Attributes:
        n_songs: number of songs.
        n_done: songs that were separated.
        n_skipped: songs that were skipped, since their stems existed.
        n_failed: songs that failed; the manifest tells why.
        audio_seconds: seconds of audio that were separated.
        seconds: seconds since the start.
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
Songs = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class Batch:
    """Songs, and how they are to be separated.

    Args:
        songs: one or several files, folders, patterns, playlists, tables and URLs, as for `duetto separate`.
        out: folder or URL for the stems.
        options: format and names of the stems.
        separator: opened by the name or path of its model.
        overwrite: whether existing stems are overwritten.

    Attributes:
        songs: the songs that were found, each once.

    Raises:
        ConfigError: songs that would have the same stems, a list or template that cannot be used.
    """

    def __init__(
        self,
        songs: Songs,
        out: str | os.PathLike[str],
        options: FileOptions,
        *,
        separator: Separator,
        overwrite: bool = False,
    ) -> None:
        out = storage.without_scheme(os.fspath(out))
        self._work = Work.of(separator, out, options, overwrite=overwrite)
        self._model = separator.metadata.name
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
        """Separate the songs; see `separate_files`."""
        if jobs < 1:
            raise ConfigError(f"jobs={jobs}: choose 1 or more")
        start, summary = time.perf_counter(), Summary(n_songs=len(self.songs))
        work, songs = self._anywhere() if ray else (self._work, self.songs)
        executor = _executor(work, jobs=min(jobs, len(songs)), ray=ray, progress=progress)
        with _open_manifest(work.out) as manifest:
            try:
                with executor:
                    for record in self._records(executor, songs, manifest):
                        summary = summary.plus(record, time.perf_counter() - start)
                        if on_done:
                            on_done(record, summary)
            finally:
                manifest.lost_worker = executor.lost_worker
        return replace(summary, seconds=time.perf_counter() - start)

    def _anywhere(self) -> tuple[Work, list[Song]]:
        """The same with absolute paths, for workers in other folders."""
        work = replace(self._work, out=storage.absolute(self._work.out))
        return work, [song._replace(name=song.key) for song in self.songs]

    def _records(
        self, executor: Executor, songs: Iterable[Song], manifest: Manifest | RemoteManifest
    ) -> Iterator[Record]:
        """The records of songs as they are done, written down; no more songs than needed are submitted."""
        pending: dict[Future[Record], Record | None] = {}

        def finished() -> Iterator[Record]:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                record, previous = future.result(), pending.pop(future)
                if (lasting := record.lasting) != previous:
                    manifest.add(lasting)
                yield record

        for song in songs:
            known = manifest.find(song.key, self._possible_paths(song))
            pending[executor.submit(song, known)] = known.previous
            if len(pending) >= executor.n_ahead:
                yield from finished()
        while pending:
            yield from finished()

    def _possible_paths(self, song: Song) -> Iterator[str]:
        """Where stems of a song may be written, whatever format the song turns out to have."""
        options = self._work.options
        if self._work.overwrite or song.problem:
            return
        template = song.fill(options.template)
        for container in [options.container] if options.container else EXTENSIONS:
            paths = stem_paths(
                self._model, song.name, "", template=template, container=container, stems=options.written
            )
            yield from (path.as_posix() for path in paths.values())


def separate_files(
    songs: Songs,
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
    """Separate many songs; a song that fails does not stop the others.

    `manifest.jsonl` in the output folder gets a line per song. A song is skipped if an earlier run separated
    it with the same options and model, and the song and its stems are unchanged. Stems of another song are
    not overwritten unless `overwrite` is true. The stems do not depend on `jobs` or `ray`. With `jobs` above
    1 the program must be a file whose main part is guarded by `if __name__ == "__main__":`.

    Args:
        songs: one or several files, folders, patterns, playlists, tables and URLs, as for `duetto separate`.
        out: folder or URL for the stems.
        options: format and names of the stems.
        separator: opened by the name or path of its model; by default the default model.
        jobs: number of worker processes, which divide the cores; 1 separates in this process.
        ray: "auto" or the address of a Ray cluster, which separates the songs instead.
        overwrite: whether existing stems are overwritten: those of the same song, and those of others.
        on_done: called with the record of each song when it is done, in any order, and the progress.
        progress: with one job, called with the number of samples of the present song that are done, and of
            all its samples.

    Returns:
        How many songs were separated, skipped or failed, and how long it took.

    Raises:
        ConfigError: songs that would have the same stems, a list, template or output folder that cannot be
            used, an option out of range, an extra that is not installed, worker processes that cannot be
            started.
        ModelError: no such model.

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
        raise ConfigError(f"this needs {error.name}, which is not installed; run pip install ray") from error
    return RayTasks(work, ray)


def _open_manifest(out: str) -> Manifest | RemoteManifest:
    return RemoteManifest(out) if storage.is_url(out) else Manifest(out)


def _refuse_shared_stems(model: str, songs: Iterable[Song], options: FileOptions) -> None:
    """Refuse songs whose stems would have the same paths, before anything is separated."""
    stems = options.written
    taken: dict[int, Song] = {}
    for song in songs:
        if song.problem:
            continue
        template = song.fill(options.template)
        paths = stem_paths(model, song.name, "", template=template, container="", stems=stems)
        path = hash(os.path.normpath(paths[stems[0]]))  # as a number, for there may be millions
        if path in taken:
            raise ConfigError(
                f"{taken[path].name} and {song.name} would have the same stems; separate the folder that "
                "holds both, or give one of them another output folder or template"
            )
        taken[path] = song
