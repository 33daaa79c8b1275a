"""A studio to test: a small model, a song made on the spot, and a client of its API."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import soundfile
import uvicorn
from fastapi import FastAPI

from duetto.studio.configuration import StudioSettings
from duetto.studio.jobs import JobService
from duetto.studio.server import listen, make_server
from helpers.tiny import write_model

SAMPLE_RATE = 16_000
TIMEOUT_SECONDS = 240
"""The one limit of all waits in the tests of the studio: what has not happened by then never will."""


def settings(data: Path, **changes: Any) -> StudioSettings:
    """Settings with a small model first and a slow method second."""
    model = data.parent / "tiny.onnx"
    if not model.exists():
        write_model(model, licence="MIT", training_data="nothing")
    return StudioSettings(data=data, **{"models": (str(model), "rpca"), **changes})


class StudioClient(httpx.Client):
    """A client of a studio that runs in a thread.

    Attributes:
        server: what runs it.
        service: what answers.
        address: of the page.
    """

    server: uvicorn.Server
    service: JobService
    address: str


@contextmanager
def running(chosen: StudioSettings, *, separates: bool = True) -> Iterator[StudioClient]:
    """A studio on a free port, and its client; one that does not separate starts no processes."""
    server = make_server(chosen)
    server.config.lifespan = "on" if separates else "off"
    app = cast(FastAPI, server.config.app)
    with listen(dataclasses.replace(chosen, host="127.0.0.1", port=0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with StudioClient(base_url=address, timeout=TIMEOUT_SECONDS) as client:
                client.server, client.service, client.address = server, app.state.service, address
                yield client
        finally:
            server.should_exit = True
            thread.join(TIMEOUT_SECONDS)
            app.state.service.close()
    assert not thread.is_alive()
    assert app.state.service.pids == []


def song(path: Path, seconds: float = 2.0, *, seed: int = 0, n_channels: int = 2) -> Path:
    """Write a 16-bit song of noise that swells and a tone."""
    rng = np.random.default_rng(seed)
    time_axis = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.normal(0, 0.05, (len(time_axis), n_channels)) * (1 + np.sin(2 * np.pi * time_axis))[:, None]
    tone = 0.2 * np.sin(2 * np.pi * 440 * time_axis)[:, None]
    soundfile.write(path, noise + tone, SAMPLE_RATE, subtype="PCM_16")
    return path


def upload(client: StudioClient, path: Path, **query: str) -> dict[str, Any]:
    """Upload a song and return its job."""
    response = client.post("/api/jobs", params={"name": path.name, **query}, content=path.read_bytes())
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    return job


def wait_for(client: StudioClient, job_id: str, is_met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job once a condition is met."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while True:
        job: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json()
        if is_met(job):
            return job
        assert time.monotonic() < end, f"in vain: {job}"
        time.sleep(0.05)


def separated(client: StudioClient, path: Path, **query: str) -> dict[str, Any]:
    """Upload a song and return its job when it is done."""
    job = wait_for(client, upload(client, path, **query)["id"], has_ended)
    assert job["state"] == "done", job
    return job


def has_ended(job: dict[str, Any]) -> bool:
    """Whether a job neither waits nor runs."""
    return job["state"] not in ("queued", "running")
