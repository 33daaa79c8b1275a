"""The list of jobs, in SQLite, and the folder of each."""

import dataclasses
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from duetto.errors import ConfigError

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ScoringState = Literal["none", "queued", "running", "done", "failed"]
UNFINISHED: tuple[State, ...] = ("queued", "running")

_SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One song to be separated by one model.

    Attributes:
        id: 16 hexadecimal digits, drawn at random.
        name: what the user calls the song; it is shown and never used as a path.
        model: name of the model.
        state: what has become of it.
        created: seconds since 1970.
        finished: seconds since 1970; None before the end.
        seconds: how long the separation took.
        error: why it failed.
        sha256: of the uploaded file, in hexadecimal; jobs of the same file can be compared.
        sample_rate: Hz.
        n_channels: number of channels.
        n_samples: samples per channel.
        subtype: how a sample of the stems is coded, in libsndfile's words.
        n_clipped: samples of the stems that were saturated.
        n_bytes: of the job's files.
        scoring: what has become of the comparison with references.
        scores: stem -> {"sdr", "sir", "sar"} in dB; null where it is infinite.
        scoring_error: why the scoring failed.
    """

    id: str
    name: str
    model: str
    state: State
    created: float
    sha256: str
    sample_rate: int
    n_channels: int
    n_samples: int
    finished: float | None = None
    seconds: float | None = None
    error: str | None = None
    subtype: str | None = None
    n_clipped: int = 0
    n_bytes: int = 0
    scoring: ScoringState = "none"
    scores: Mapping[str, Mapping[str, float | None]] | None = None
    scoring_error: str | None = None


_COLUMNS = [field.name for field in dataclasses.fields(Job)]


class JobStore:
    """The jobs of a data folder; safe to use from any thread.

    They are read from memory: a commit waits for the disk, and those who only ask shall not. One process at a
    time owns a data folder: SQLite's exclusive lock refuses a second.

    Args:
        data: the folder; it is made.

    Raises:
        ConfigError: another studio uses the folder, or a newer Duetto made it.
        OSError: the folder cannot be made.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / "jobs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._database = sqlite3.connect(data / "studio.sqlite3", check_same_thread=False, timeout=0.5)
        self._database.row_factory = sqlite3.Row
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._database.close()
            raise ConfigError(
                f"{data}: {error}: another studio uses this folder, or it cannot be written; stop that "
                "one, or choose another folder with --data"
            ) from error

    def _open(self) -> None:
        with self._database:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise ConfigError(
                    f"the list of jobs has version {version}, this Duetto knows {_SCHEMA_VERSION}; upgrade "
                    "Duetto, or choose another folder with --data"
                )
            columns = ", ".join(f"{name} PRIMARY KEY" if name == "id" else name for name in _COLUMNS)
            self._database.execute(f"CREATE TABLE IF NOT EXISTS jobs ({columns})")
            self._database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        self._load()

    def _load(self) -> None:
        rows = self._database.execute("SELECT * FROM jobs").fetchall()
        jobs = [Job(**{name: _from_sql(name, row[name]) for name in _COLUMNS}) for row in rows]
        self._jobs = {job.id: job for job in jobs}

    def close(self) -> None:
        """Let another process own the folder."""
        with self._lock:
            self._database.close()

    def folder(self, job_id: str) -> Path:
        """Where the files of a job lie."""
        return self._folder / job_id

    def add(self, job: Job) -> None:
        """Add a job."""
        values = [_to_sql(getattr(job, name)) for name in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        with self._lock, self._database:
            self._database.execute(f"INSERT INTO jobs VALUES ({marks})", values)
            self._jobs[job.id] = job

    def update(self, job_id: str, **changes: Any) -> None:
        """Change some columns of a job; one that was deleted stays deleted."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        values = [_to_sql(value) for value in changes.values()]
        with self._lock, self._database:
            if job_id in self._jobs:
                self._database.execute(f"UPDATE jobs SET {assignments} WHERE id = ?", [*values, job_id])
                self._jobs[job_id] = dataclasses.replace(self._jobs[job_id], **changes)

    def get(self, job_id: str) -> Job | None:
        """A job, or None if there is no such."""
        return self._jobs.get(job_id)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first."""
        return sorted(self._jobs.values(), key=lambda job: (-job.created, job.id))

    def delete(self, job_id: str) -> None:
        """Forget a job and delete its files."""
        with self._lock, self._database:
            self._database.execute("DELETE FROM jobs WHERE id = ?", [job_id])
            self._jobs.pop(job_id, None)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def recover(self) -> list[Job]:
        """Bring the list in order after a restart: what ran is interrupted, and strangers' folders go.

        Returns:
            The jobs that still wait, the oldest first.
        """
        with self._lock, self._database:
            self._database.execute(
                "UPDATE jobs SET state = 'interrupted', finished = ?, error = ? WHERE state = 'running'",
                [time.time(), "the studio was stopped while it separated this song; separate it again"],
            )
            self._database.execute(
                "UPDATE jobs SET scoring = 'failed', scoring_error = ? "
                "WHERE scoring IN ('queued', 'running')",
                ["the studio was stopped while it scored the stems; choose the references again"],
            )
            self._load()
        for folder in self._folder.iterdir():
            if folder.name not in self._jobs:
                shutil.rmtree(folder, ignore_errors=True)
        return [job for job in reversed(self.jobs()) if job.state == "queued"]


def _to_sql(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value


def _from_sql(name: str, value: Any) -> Any:
    return json.loads(value) if name == "scores" and value else value
