"""Separates one song of a batch after the other."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duetto
from duetto.audio import AudioReader, output_format
from duetto.batch import storage
from duetto.batch.inputs import Song
from duetto.batch.manifest import Known, Output, Record
from duetto.errors import AudioError, ConfigError, DuettoError
from duetto.models.onnx_model import OnnxModel
from duetto.separation.separator import Separator
from duetto.separation.settings import SeparationSettings
from duetto.separation.stem_writer import FileOptions, SeparatedFile, stem_paths

Progress = Callable[[int, int], None]
_OTHER_VERSION = (
    "the manifest of the output folder has records of another version of Duetto in a form that this version "
    "does not read: their songs are separated again, and their stems are overwritten"
)


@dataclass(frozen=True)
class Work:
    """How every song is separated; it can be sent to another process or machine.

    Attributes:
        model: the open model, or the name of a method.
        settings: those of the Separator.
        out: the output folder, a path or URL.
        options: format and names of the stems.
        overwrite: whether existing stems are overwritten.
    """

    model: OnnxModel | str
    settings: SeparationSettings
    out: str
    options: FileOptions
    overwrite: bool

    @classmethod
    def of(cls, separator: Separator, out: str, options: FileOptions, *, overwrite: bool) -> "Work":
        """The work of a Separator."""
        model = separator.model
        if isinstance(model, str | os.PathLike):
            first, *others = separator.stages
            model = first if isinstance(first, OnnxModel) and not others else os.fspath(model)
        if not isinstance(model, str | OnnxModel):
            raise ConfigError(
                f"a batch cannot send {model!r} to its workers; give a Separator of a name or path"
            )
        return cls(model, separator.settings, out, options, overwrite)

    @property
    def model_id(self) -> str:
        """The SHA-256 of the model file, or the name of the method."""
        return self.model.sha256 if isinstance(self.model, OnnxModel) else self.model

    def parameters(self, song: Song) -> dict[str, Any]:
        """All that the stems depend on besides the song and the model, as JSON gives it back."""
        options = {**asdict(self.options), "template": song.fill(self.options.template)}
        settings = asdict(self.settings)
        del settings["n_threads"]
        parameters: dict[str, Any] = json.loads(json.dumps({**settings, **options}))
        return parameters

    def failed(self, song: Song, error: str) -> Record:
        """The record of a song that could not be separated."""
        return Record(
            song=song.key,
            status="failed",
            error=error,
            model=self.model_id,
            parameters=self.parameters(song),
            outputs={},
            version=duetto.__version__,
        )


class Worker:
    """Separates songs; the model is opened once.

    Args:
        work: how.
        n_threads: number of threads; by default that of the settings.
        progress: called with the number of samples done and of all samples of the song.
    """

    def __init__(self, work: Work, *, n_threads: int | None = None, progress: Progress | None = None) -> None:
        self._work = work
        self._progress = progress
        settings = replace(work.settings, n_threads=n_threads or work.settings.n_threads)
        self._separator = Separator(work.model, **asdict(settings))

    def __call__(self, song: Song, known: Known) -> Record:
        """Separate a song, unless its last record tells that its stems exist."""
        if song.problem:
            return self._work.failed(song, song.problem)
        try:
            previous = known.previous
            if previous and not self._work.overwrite and (kept := self._unchanged(song, previous)):
                return kept
            record = self._separate(song, known.owners)
            if known.of_other_version and not self._work.overwrite:
                return replace(record, notes=(*record.notes, _OTHER_VERSION))
            return record
        except DuettoError as error:
            return self._work.failed(song, str(error))
        except OSError as error:
            return self._work.failed(song, f"{error.filename or song.name}: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - a fault of ours fails this song, not the batch
            return self._work.failed(song, f"{song.name}: unexpected {type(error).__name__}: {error}")

    def _unchanged(self, song: Song, previous: Record) -> Record | None:
        """The record of what is there already; None where anything is missing or differs."""
        made_so = (previous.status, previous.model, previous.parameters)
        if made_so != ("done", self._work.model_id, self._work.parameters(song)):
            return None
        fingerprint = _same(song.name, previous)
        outputs = {}
        for stem, output in previous.outputs.items():
            mark = _same(storage.join(self._work.out, output.path), output)
            outputs[stem] = replace(output, fingerprint=mark)
        if not all([fingerprint, *(output.fingerprint for output in outputs.values())]):
            return None
        return replace(previous, status="skipped", fingerprint=fingerprint, outputs=outputs)

    def _separate(self, song: Song, owners: tuple[Record, ...]) -> Record:
        start, before = time.perf_counter(), _mark(song.name)
        options = replace(self._work.options, template=song.fill(self._work.options.template))
        with (
            storage.fetched(song.name) as local,
            AudioReader(local, audio_track=options.audio_track, name=song.name) as reader,
            storage.staged(self._work.out) as folder,
        ):
            if owners:
                self._refuse_stems_of_others(song, reader, options, owners)
            try:
                done = self._separator.separate_opened(reader, folder, options, progress=self._progress)
            except DuettoError as error:
                if not storage.is_url(self._work.out):
                    raise
                raise type(error)(f"{song.name} to {self._work.out}: {error}") from error
            sha256 = storage.digest(str(local))
            outputs = {stem: _output(path, folder, done.peaks[stem]) for stem, path in done.paths.items()}
            if not before or _mark(song.name) != before:
                for path in done.paths.values():
                    path.unlink()
                raise AudioError(f"{song.name} changed while it was read; separate it again when it is whole")
        for stem, output in outputs.items():
            mark = storage.fingerprint(storage.join(self._work.out, output.path))
            outputs[stem] = replace(output, fingerprint=mark)
        return Record(
            song=song.key,
            status="done",
            fingerprint=before,
            sha256=sha256,
            model=self._work.model_id,
            parameters=self._work.parameters(song),
            outputs=outputs,
            audio_seconds=_duration(done, options),
            seconds=time.perf_counter() - start,
            n_clipped=done.n_clipped,
            null_residual=done.null_residual,
            notes=done.notes,
            version=duetto.__version__,
        )

    def _refuse_stems_of_others(
        self, song: Song, reader: AudioReader, options: FileOptions, owners: tuple[Record, ...]
    ) -> None:
        """Refuse a song whose stems would overwrite those of another, which a moved or copied song is not."""
        container, _ = output_format(reader.info, container=options.container, subtype=options.subtype)
        paths = stem_paths(
            self._separator.metadata.name,
            song.name,
            "",
            template=options.template,
            container=container,
            stems=options.written,
        )
        wanted = {os.path.normpath(path) for path in paths.values()}
        for owner in owners:
            for output in owner.outputs.values():
                stem = storage.join(self._work.out, output.path)
                if os.path.normpath(output.path) not in wanted or not _mark(stem):
                    continue
                if owner.sha256 != storage.digest(str(reader.path)):
                    raise AudioError(
                        f"{song.name}: {stem} exists and is a stem of {owner.song}; overwrite existing stems "
                        "(--overwrite), or choose another output folder or template"
                    )


def _mark(name: str) -> str:
    """The fingerprint of a file, "" if there is none."""
    with suppress(OSError):
        return storage.fingerprint(name)
    return ""


def _same(name: str, known: Record | Output) -> str:
    """The fingerprint of a file that has the bytes that are known of it, "" if it has not."""
    mark = _mark(name)
    if mark and mark != known.fingerprint:
        with suppress(OSError):
            return mark if storage.digest(name) == known.sha256 else ""
    return mark


def _output(path: Path, folder: Path, peak: float) -> Output:
    n_bytes, sha256 = path.stat().st_size, storage.digest(str(path))
    relative = path.relative_to(folder).as_posix()
    return Output(path=relative, n_bytes=n_bytes, fingerprint="", sha256=sha256, peak=peak)


def _duration(done: SeparatedFile, options: FileOptions) -> float:
    """Seconds of the song that were separated."""
    whole = done.info.n_samples / done.info.sample_rate
    end = whole if options.end_seconds is None else min(whole, options.end_seconds)
    return end - options.start_seconds
