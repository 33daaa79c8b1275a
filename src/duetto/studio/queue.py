"""The bounded queue: jobs that wait, run and end, and what the list says of them."""

import threading
import time
from pathlib import Path
from typing import Any

from duetto.studio import tasks
from duetto.studio.configuration import StudioSettings
from duetto.studio.store import UNFINISHED, Job, JobStore
from duetto.studio.workers import Ticket, WorkerPool

_DAY = 86_400.0


class JobQueue:
    """Runs jobs in worker processes and keeps the list true.

    Args:
        settings: number of workers, and how long jobs are kept.
        store: the list. What an earlier studio left waiting is queued again.

    Attributes:
        revision: grows whenever anything about any job changes.
    """

    def __init__(self, settings: StudioSettings, store: JobStore) -> None:
        self._settings, self._store = settings, store
        self.revision = 0
        self._workers = WorkerPool(settings.n_workers, "separation")
        self._separations: dict[str, Ticket] = {}
        self._scorings: dict[str, Ticket] = {}
        self._progress: dict[str, tuple[int, int, float]] = {}
        self._closing = threading.Event()
        for job in store.recover():
            self.separate(job)
        self.expire()

    def close(self) -> None:
        """End the workers. What ran is interrupted; what waited waits for the next start."""
        self._closing.set()
        self._workers.close()

    @property
    def n_unfinished(self) -> int:
        """Jobs that wait or run."""
        return sum(job.state in UNFINISHED for job in self._store.jobs())

    @property
    def pids(self) -> list[int]:
        """Ids of the worker processes."""
        return self._workers.pids

    def progress(self, job_id: str) -> tuple[float, float | None]:
        """How much of a running job is done, from 0 to 1, and an estimate of the seconds left."""
        done, total, started = self._progress.get(job_id, (0, 1, 0.0))
        return done / total, (time.monotonic() - started) * (total - done) / done if done else None

    def separate(self, job: Job) -> None:
        """Queue the separation of a job that is in the list as queued."""
        folder = self._store.folder(job.id)
        ticket = self._workers.submit(
            tasks.separate_song,
            on_start=lambda: self._started(job.id),
            on_progress=lambda done, total: self._advanced(job.id, done, total),
            song=folder / "song",
            folder=folder,
            name=job.name,
            model=self._settings.named_models.get(job.model, job.model),
            max_seconds=self._settings.max_seconds,
        )
        self._separations[job.id] = ticket
        ticket.future.add_done_callback(lambda _: self._ended(job.id, ticket))
        self.revision += 1

    def _started(self, job_id: str) -> None:
        self._progress[job_id] = (0, 1, time.monotonic())
        self._change(job_id, state="running")

    def _advanced(self, job_id: str, done: int, total: int) -> None:
        self._progress[job_id] = (done, total, self._progress[job_id][2])
        self.revision += 1

    def _ended(self, job_id: str, ticket: Ticket) -> None:
        self._separations.pop(job_id, None)
        _, _, started = self._progress.pop(job_id, (0, 1, time.monotonic()))
        job = self._store.get(job_id)
        if job is None:
            self._store.delete(job_id)  # once more: its worker may have written until now
            return
        if self._closing.is_set() and job.state == "queued":
            return  # it goes on waiting after the next start
        cancelled = ticket.future.cancelled()
        error = None if cancelled else ticket.future.exception()
        end = {"finished": time.time(), "seconds": time.monotonic() - started}
        if error is None and not cancelled:
            n_bytes = folder_bytes(self._store.folder(job_id))
            self._change(job_id, state="done", n_bytes=n_bytes, **end, **ticket.future.result())
            self.expire()
            return
        self._discard_stems(job_id)
        if cancelled or ticket.is_cancelled:
            self._change(job_id, state="cancelled", **end)
        elif self._closing.is_set():
            self._change(job_id, state="interrupted", error="the studio was stopped", **end)
        else:
            self._change(job_id, state="failed", error=str(error), **end)

    def _discard_stems(self, job_id: str) -> None:
        """Remove all but the uploaded song, which can be separated again."""
        folder = self._store.folder(job_id)
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name != "song" and path.is_file():
                path.unlink(missing_ok=True)

    def score(self, job: Job, references: dict[str, Path]) -> None:
        """Queue the scoring of a finished job; what an earlier call asked for is dropped."""
        folder = self._store.folder(job.id)
        if earlier := self._scorings.pop(job.id, None):
            earlier.cancel()
        self._change(job.id, scoring="queued", scores=None, scoring_error=None)
        ticket = self._workers.submit(
            tasks.score_stems,
            on_start=lambda: self._change(job.id, scoring="running"),
            references=references,
            estimates={stem: folder / f"{stem}.wav" for stem in tasks.STEMS},
        )
        self._scorings[job.id] = ticket
        ticket.future.add_done_callback(lambda _: self._scored(job.id, ticket))

    def _scored(self, job_id: str, ticket: Ticket) -> None:
        if self._scorings.get(job_id) is not ticket:
            return  # newer references were chosen, or the job is being deleted
        del self._scorings[job_id]
        if error := ticket.future.exception():
            self._change(job_id, scoring="failed", scoring_error=str(error))
        else:
            self._change(job_id, scoring="done", scores=ticket.future.result())

    def cancel(self, job_id: str) -> None:
        """Stop a separation that waits or runs; one that has ended stays as it is."""
        if ticket := self._separations.get(job_id):
            ticket.cancel()

    def delete(self, job_id: str) -> None:
        """Stop whatever is done for a job, and delete all that belongs to it."""
        self.cancel(job_id)
        if scoring := self._scorings.pop(job_id, None):
            scoring.cancel()
        self._store.delete(job_id)
        self.revision += 1

    def expire(self) -> None:
        """Delete finished jobs that are too old, then the oldest while all together hold too much."""
        jobs = self._store.jobs()
        n_bytes = sum(job.n_bytes for job in jobs)
        for job in reversed(jobs[1:]):  # the newest stays, whatever its size
            if job.state in UNFINISHED:
                continue
            too_old = time.time() - job.created > self._settings.keep_days * _DAY
            if too_old or n_bytes > self._settings.keep_bytes:
                n_bytes -= job.n_bytes
                self.delete(job.id)

    def _change(self, job_id: str, **changes: Any) -> None:
        self._store.update(job_id, **changes)
        self.revision += 1


def folder_bytes(folder: Path) -> int:
    """Size of the files that lie in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
