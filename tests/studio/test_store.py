"""The list of jobs survives restarts and belongs to one studio."""

import dataclasses
import sqlite3

import pytest

from duetto.errors import ConfigError
from duetto.studio.store import Job, JobStore


def _job(job_id: str, **changes: object) -> Job:
    values = {"name": "song", "model": "tiny", "state": "done", "created": 1.0, "sha256": "", "n_samples": 1}
    return Job(id=job_id, sample_rate=16_000, n_channels=1, **{**values, **changes})


def test_what_ran_when_the_power_went_is_interrupted(tmp_path):
    store = JobStore(tmp_path)
    store.add(_job("0" * 16, state="running", scoring="none"))
    store.add(_job("1" * 16, state="done", scoring="running"))
    (tmp_path / "jobs" / "stranger").mkdir()
    store.close()
    store = JobStore(tmp_path)
    assert store.recover() == []
    states = {job.id[0]: (job.state, job.scoring) for job in store.jobs()}
    assert states == {"0": ("interrupted", "none"), "1": ("done", "failed")}
    assert list((tmp_path / "jobs").iterdir()) == []
    store.close()


def test_jobs_come_back_as_they_were(tmp_path):
    store = JobStore(tmp_path)
    job = _job("a" * 16, scores={"vocals": {"sdr": 1.5, "sir": None, "sar": 2.0}}, scoring="done")
    store.add(job)
    assert store.get(job.id) == job
    store.update(job.id, name="other")
    assert store.get(job.id) == dataclasses.replace(job, name="other")
    store.close()
    store = JobStore(tmp_path)
    assert store.jobs() == [dataclasses.replace(job, name="other")]
    store.close()


@pytest.mark.slow
def test_a_folder_has_one_studio(tmp_path):
    store = JobStore(tmp_path)
    with pytest.raises(ConfigError, match="another studio"):
        JobStore(tmp_path)
    store.close()
    JobStore(tmp_path).close()


def test_the_list_of_a_newer_version_is_left_alone(tmp_path):
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "studio.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigError, match="99"):
        JobStore(tmp_path)
