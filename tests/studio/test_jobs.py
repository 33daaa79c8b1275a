"""A job's life: the queue, events, cancel, delete, crashes, restarts and retention."""

import dataclasses
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.studios import has_ended, running, separated, settings, song, upload, wait_for

pytestmark = pytest.mark.slow


def hang(*, progress):
    time.sleep(600)


@pytest.fixture(scope="module")
def long_path(folder: Path) -> Path:
    """A song that the slow method takes long for."""
    return song(folder / "long.wav", 60)


def test_events_tell_a_job_s_life(client, song_path):
    job = upload(client, song_path)
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line for line in response.iter_lines() if line]
    kinds = [line.removeprefix("event: ") for line in events if line.startswith("event: ")]
    states = [
        json.loads(line.removeprefix("data: "))["state"] for line in events if line.startswith("data: ")
    ]
    assert set(kinds) == {"job"}
    assert states[-1] == "done"
    assert states == sorted(states, key=["queued", "running", "done"].index)


def test_event_streams_end_with_the_studio(folder, capfd):
    with running(settings(folder / "ending")) as client, client.stream("GET", "/api/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: ready"
        client.server.should_exit = True
        assert [line for line in lines if line.startswith("event")] == []
    assert capfd.readouterr().err == ""


def test_requests_that_wait_for_a_worker_end_with_the_studio(folder, song_path, capfd):
    with running(settings(folder / "stopping")) as client, ThreadPoolExecutor() as threads:
        job = separated(client, song_path)
        busy = client.service.short_tasks.submit(hang)
        while not busy.future.running():
            time.sleep(0.01)
        answer = threads.submit(client.get, f"/api/jobs/{job['id']}/pictures/mixture")
        while client.service.short_tasks._tickets.empty():
            time.sleep(0.01)
        client.server.should_exit = True
        assert answer.result().status_code == 503
    assert capfd.readouterr().err == ""


def test_a_running_job_reports_its_progress(client, long_path):
    job = upload(client, long_path, model="rpca")
    seen = wait_for(client, job["id"], lambda job: job["progress"])
    assert 0 < seen["progress"] < 1
    assert seen["seconds_left"] > 0
    client.delete(f"/api/jobs/{job['id']}")


def test_cancel_stops_what_runs_and_what_waits(client, long_path, folder):
    jobs = [upload(client, long_path, model="rpca") for _ in range(2)]
    wait_for(client, jobs[0]["id"], lambda job: job["state"] == "running")
    assert client.get(f"/api/jobs/{jobs[1]['id']}").json()["place"] == 1
    for job in reversed(jobs):
        client.post(f"/api/jobs/{job['id']}/cancel")
    for job in jobs:
        assert wait_for(client, job["id"], has_ended)["state"] == "cancelled"
        assert [path.name for path in (folder / "data" / "jobs" / job["id"]).iterdir()] == ["song"]
        assert client.get(f"/api/jobs/{job['id']}/stems/vocals").status_code == 409


def test_a_cancelled_song_can_be_separated_again(client, long_path):
    job = upload(client, long_path, model="rpca")
    client.post(f"/api/jobs/{job['id']}/cancel")
    wait_for(client, job["id"], has_ended)
    models = client.get("/api/models").json()
    again = client.post(f"/api/jobs/{job['id']}/again", params={"model": models[0]["key"]}).json()
    assert wait_for(client, again["id"], has_ended)["state"] == "done"


def test_cancelling_what_is_done_changes_nothing(client, done):
    assert client.post(f"/api/jobs/{done['id']}/cancel").json()["state"] == "done"


def test_a_deleted_job_leaves_nothing(client, song_path, folder):
    job = separated(client, song_path)
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert client.get(f"/api/jobs/{job['id']}").status_code == 404
    assert not (folder / "data" / "jobs" / job["id"]).exists()


def test_a_job_that_is_deleted_while_it_runs_leaves_nothing(client, long_path, folder):
    job = upload(client, long_path, model="rpca")
    wait_for(client, job["id"], lambda job: job["progress"])
    client.delete(f"/api/jobs/{job['id']}")
    separated(client, song(folder / "next.wav"))  # by the worker that comes after it
    assert not (folder / "data" / "jobs" / job["id"]).exists()


def test_a_job_that_kills_its_worker_fails_alone(client, long_path, song_path):
    job = upload(client, long_path, model="rpca")
    wait_for(client, job["id"], lambda job: job["state"] == "running")
    while not client.service.queue.pids:
        time.sleep(0.01)
    os.kill(client.service.queue.pids[0], signal.SIGKILL)
    failed = wait_for(client, job["id"], has_ended)
    assert failed["state"] == "failed"
    assert "try again" in failed["error"]
    separated(client, song_path)


def test_a_restart_keeps_what_is_done_and_marks_what_ran(folder, song_path, long_path):
    chosen = settings(folder / "restarted")
    with running(chosen) as client:
        done = separated(client, song_path)
        vocals = client.get(f"/api/jobs/{done['id']}/stems/vocals").content
        runs, waits = upload(client, long_path, model="rpca"), upload(client, song_path)
        wait_for(client, runs["id"], lambda job: job["state"] == "running")
    with running(chosen) as client:
        jobs = {job["id"]: job for job in client.get("/api/jobs").json()}
        assert jobs[done["id"]] == done
        assert client.get(f"/api/jobs/{done['id']}/stems/vocals").content == vocals
        assert jobs[runs["id"]]["state"] == "interrupted"
        assert wait_for(client, waits["id"], has_ended)["state"] == "done"


def test_old_jobs_and_then_the_oldest_go(folder, song_path):
    chosen = settings(folder / "full")
    with running(chosen) as client:
        jobs = [separated(client, song_path) for _ in range(3)]
        store = client.service.store
        store.update(jobs[0]["id"], created=time.time() - 31 * 86_400)
    with running(dataclasses.replace(chosen, keep_bytes=round(1.5 * jobs[0]["n_bytes"]))) as client:
        assert [job["id"] for job in client.get("/api/jobs").json()] == [jobs[2]["id"]]
    assert [path.name for path in (chosen.data / "jobs").iterdir()] == [jobs[2]["id"]]


def test_health_counts_the_jobs(client, long_path):
    job = upload(client, long_path, model="rpca")
    wait_for(client, job["id"], lambda job: job["state"] == "running")
    health = client.get("/api/health").json()
    assert (health["status"], health["n_running"], health["n_workers"]) == ("ok", 1, 1)
    client.delete(f"/api/jobs/{job['id']}")


def test_models_have_a_card(client):
    tiny, rpca = client.get("/api/models").json()
    assert (tiny["name"], tiny["licence"], tiny["origin"]) == ("tiny", "MIT", "nothing")
    assert rpca["key"] == "rpca"
    assert rpca["n_bytes"] == 0
