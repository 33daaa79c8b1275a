"""What the service does with jobs: takes songs and references in, and tells what has become of them."""

import asyncio
import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from duetto.audio import AudioInfo
from duetto.studio import tasks
from duetto.studio.configuration import StudioSettings
from duetto.studio.queue import JobQueue, folder_bytes
from duetto.studio.store import Job, JobStore
from duetto.studio.uploads import RefusedError, check_space, receive
from duetto.studio.views import JobView, ModelCard
from duetto.studio.workers import WorkerPool

EXAMPLE = Path(__file__).parents[1] / "audio" / "example.flac"
_INSPECT_SECONDS = 60.0


class JobService:
    """The jobs of a studio.

    Args:
        settings: limits and the folder.

    Attributes:
        store: the list of jobs.
        queue: their queue.
        short_tasks: a worker for what a client waits for.
        is_ending: whether the studio is being stopped, so that event streams have to end.

    Raises:
        ConfigError: another studio uses the folder.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
        self.store = JobStore(settings.data)
        self.queue = JobQueue(settings, self.store)
        self.short_tasks = WorkerPool(1, "short")
        self.is_ending = False
        self._n_arriving = 0
        self._cards: asyncio.Future[list[dict[str, Any]]] | None = None

    def stop(self) -> None:
        """End the workers, and the requests that wait for them."""
        self.is_ending = True
        self.queue.close()
        self.short_tasks.close()

    def close(self) -> None:
        """Stop, and let go of the folder."""
        self.stop()
        self.store.close()

    @property
    def pids(self) -> list[int]:
        """Ids of all worker processes."""
        return self.queue.pids + self.short_tasks.pids

    async def add_upload(
        self, chunks: AsyncIterator[bytes], *, announced: int | None, name: str, model: str | None
    ) -> JobView:
        """Take in a song.

        Raises:
            RefusedError: as `receive`, 429 when the queue is full, 404 for a model that is not on offer.
            AudioError: it is no audio, or too long.
        """
        with self._arrival() as (job_id, folder):
            model = await self._model(model)
            sha256 = await self._receive(chunks, folder / "song", announced)
            return await self._add(job_id, name=name, model=model, sha256=sha256)

    async def add_example(self, model: str | None) -> JobView:
        """Take in the song that comes with Duetto; see `add_upload`."""

        async def content() -> AsyncIterator[bytes]:
            yield EXAMPLE.read_bytes()

        n_bytes = EXAMPLE.stat().st_size
        return await self.add_upload(content(), announced=n_bytes, name=EXAMPLE.name, model=model)

    async def add_again(self, job: Job, model: str | None) -> JobView:
        """Separate the song of an earlier job once more, mostly by another model; see `add_upload`."""
        song = self.store.folder(job.id) / "song"
        with self._arrival() as (job_id, folder):
            model = await self._model(model or job.model)
            try:
                os.link(song, folder / "song")
            except OSError:  # no hard links on this file system
                await asyncio.to_thread(shutil.copyfile, song, folder / "song")
            return await self._add(job_id, name=job.name, model=model, sha256=job.sha256)

    @contextmanager
    def _arrival(self) -> Iterator[tuple[str, Path]]:
        """A place in the queue, and a folder that goes again unless a job is added."""
        n_jobs = self._n_arriving + self.queue.n_unfinished
        if n_jobs >= self.settings.max_jobs:
            raise RefusedError(
                429, f"{n_jobs} songs are waiting, as many as this studio takes; try again later"
            )
        job_id = secrets.token_hex(8)
        folder = self.store.folder(job_id)
        folder.mkdir()
        self._n_arriving += 1
        with ExitStack() as after_failure:
            after_failure.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                yield job_id, folder
            finally:
                self._n_arriving -= 1
            after_failure.pop_all()

    async def _receive(self, chunks: AsyncIterator[bytes], target: Path, announced: int | None) -> str:
        return await receive(
            chunks,
            target,
            announced=announced,
            max_bytes=self.settings.max_upload_bytes,
            timeout_seconds=self.settings.upload_timeout_seconds,
        )

    async def _inspect(self, path: Path, name: str) -> AudioInfo:
        ticket = self.short_tasks.submit(
            tasks.inspect_song,
            limit_seconds=_INSPECT_SECONDS,
            path=path,
            name=name,
            max_seconds=self.settings.max_seconds,
        )
        info: AudioInfo = await asyncio.wrap_future(ticket.future)
        return info

    async def _add(self, job_id: str, *, name: str, model: str, sha256: str) -> JobView:
        folder = self.store.folder(job_id)
        info = await self._inspect(folder / "song", name)
        check_space(folder, 2 * 4 * info.n_channels * info.n_samples)
        job = Job(
            id=job_id,
            name=name,
            model=model,
            state="queued",
            created=time.time(),
            sha256=sha256,
            sample_rate=info.sample_rate,
            n_channels=info.n_channels,
            n_samples=info.n_samples,
            n_bytes=folder_bytes(folder),
        )
        await asyncio.to_thread(self.store.add, job)
        self.queue.separate(job)
        return self.view(self.job(job_id))

    async def add_reference(
        self, job: Job, stem: str, chunks: AsyncIterator[bytes], *, announced: int | None
    ) -> JobView:
        """Take in the reference of a stem; once both are there the job is scored.

        Raises:
            RefusedError: as `receive`, 409 while there are no stems, or 422 when it cannot be a reference of
                this song.
            AudioError: it is no audio.
        """
        self.stems(job)
        folder = self.store.folder(job.id)
        part = folder / f"reference.{secrets.token_hex(4)}"
        try:
            await self._receive(chunks, part, announced)
            _check_reference(job, stem, await self._inspect(part, f"the reference of the {stem}"))
            part.replace(folder / f"reference-{stem}")
        finally:
            part.unlink(missing_ok=True)
        references = {name: folder / f"reference-{name}" for name in tasks.STEMS}
        if all(path.exists() for path in references.values()):
            self.queue.score(job, references)
        return self.view(self.job(job.id))

    def job(self, job_id: str) -> Job:
        """A job.

        Raises:
            RefusedError: 404.
        """
        job = self.store.get(job_id)
        if job is None:
            raise RefusedError(404, f"there is no job {job_id}; it may have been deleted")
        return job

    def stems(self, job: Job) -> dict[str, Path]:
        """The stem files of a job.

        Raises:
            RefusedError: 409 while there are none, 404 if they were removed.
        """
        if job.state != "done":
            raise RefusedError(409, f"the job is {job.state}; only a job that is done has stems")
        stems = {stem: self.store.folder(job.id) / f"{stem}.wav" for stem in tasks.STEMS}
        if not all(path.exists() for path in stems.values()):
            raise RefusedError(404, "the stems of this job are gone; separate the song again")
        return stems

    def view(self, job: Job, waiting: Sequence[Job] | None = None) -> JobView:
        """What clients are told of a job; `waiting` are all that wait, in order, where that is known."""
        progress, left = self.queue.progress(job.id) if job.state == "running" else (None, None)
        values = dataclasses.asdict(job)
        subtype = values.pop("subtype")
        return JobView(
            **values,
            progress=progress,
            seconds_left=left,
            place=self._place(job, waiting) if job.state == "queued" else None,
            duration_seconds=job.n_samples / job.sample_rate,
            formats=_formats(job.sample_rate, job.n_channels, subtype) if job.state == "done" else [],
        )

    def _place(self, job: Job, waiting: Sequence[Job] | None) -> int:
        ids = [other.id for other in (_waiting(self.store.jobs()) if waiting is None else waiting)]
        return ids.index(job.id) + 1 if job.id in ids else 1  # it may have left the queue meanwhile

    def views(self) -> list[JobView]:
        """All jobs, the newest first."""
        jobs = self.store.jobs()
        waiting = _waiting(jobs)
        return [self.view(job, waiting) for job in jobs]

    async def models(self) -> list[ModelCard]:
        """The models on offer, the default first.

        Raises:
            ModelError: one that was asked for at the start is none.
        """
        if self._cards is None or (self._cards.done() and self._cards.exception()):
            ticket = self.short_tasks.submit(tasks.describe_models, models=self.settings.named_models)
            self._cards = asyncio.wrap_future(ticket.future)
        return [ModelCard(**card) for card in await asyncio.shield(self._cards)]

    async def _model(self, key: str | None) -> str:
        keys = [card.key for card in await self.models()]
        if key is not None and key not in keys:
            raise RefusedError(404, f"there is no model {key!r}; choose one of {', '.join(keys)}")
        return key or keys[0]


def _waiting(jobs: Sequence[Job]) -> list[Job]:
    return sorted((job for job in jobs if job.state == "queued"), key=lambda job: job.created)


def _check_reference(job: Job, stem: str, info: AudioInfo) -> None:
    found = (info.sample_rate, info.n_channels)
    expected = (job.sample_rate, job.n_channels)
    if found != expected or abs(info.n_samples - job.n_samples) > 0.1 * job.sample_rate:
        raise RefusedError(
            422,
            f"the reference of the {stem} has {info.n_channels} channels at {info.sample_rate} Hz and lasts "
            f"{info.n_samples / info.sample_rate:.2f} s, the song {job.n_channels} at {job.sample_rate} Hz "
            f"and {job.n_samples / job.sample_rate:.2f} s; a reference has the song's own format and length",
        )


@lru_cache(maxsize=256)
def _formats(sample_rate: int, n_channels: int, subtype: str) -> list[Any]:
    return tasks.formats(AudioInfo(sample_rate, n_channels, 1, "WAV", subtype))
