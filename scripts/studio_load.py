"""Puts the studio's service under load and breaks it on purpose; prints what was seen and fails on a fault.

    python scripts/studio_load.py [--uploads 50] [--only PART]

load: uploads at once, and a SIGKILL in the middle; claims: files that claim too much, and slow clients;
schemathesis: requests drawn from the OpenAPI document.
"""

import argparse
import asyncio
import io
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import httpx
import numpy as np
import soundfile

PARTS = ("load", "claims", "schemathesis")
SAMPLE_RATE = 44_100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Studio:
    """A studio in a process of its own."""

    def __init__(self, data: Path) -> None:
        options = ["--no-browser", "--port", "0", "--data", str(data)]
        command = [sys.executable, "-m", "duetto", "studio", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = self._process.stdout.readline().split()[-1].rstrip("/")
        self.client = httpx.Client(base_url=self.address, timeout=600)
        while not answers(self.client):
            time.sleep(0.1)
        self._slowest, self._most = multiprocessing.Value("d", 0.0), multiprocessing.Value("d", 0.0)
        watched = (self.address, self._process.pid, self._slowest, self._most)
        self._watch = multiprocessing.Process(target=watch, args=watched, daemon=True)
        self._watch.start()

    @property
    def seen(self) -> dict[str, int]:
        """The slowest answer about its health so far, and the most memory of all its processes."""
        return {"slowest_health_ms": round(self._slowest.value), "memory_MB": round(self._most.value)}

    def jobs(self) -> dict[str, dict]:
        """The jobs by their ids."""
        return {job["id"]: job for job in self.client.get("/api/jobs").json()}

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send its process a signal and wait for the end."""
        self._watch.kill()
        self._process.send_signal(how)
        self._process.wait()
        self.client.close()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/health").status_code == 200
    except httpx.TransportError:
        return False


def watch(address: str, pid: int, slowest: "Synchronized[float]", most: "Synchronized[float]") -> None:
    """Ask for a studio's health ten times a second, in milliseconds, and add up its memory, in MB."""
    with httpx.Client(base_url=address, timeout=60) as client:
        while True:
            time.sleep(0.1)
            start = time.perf_counter()
            if answers(client):
                slowest.value = max(slowest.value, 1000 * (time.perf_counter() - start))
            most.value = max(most.value, sum(map(resident, family(pid))) / 1e6)


def family(pid: int) -> Iterator[int]:
    """A process and its descendants, whichever thread started them."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in path.read_text().split():
                yield from family(int(child))


def resident(pid: int) -> int:
    """Resident bytes of a process; memory that several share counts for each."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def song(seconds: float) -> bytes:
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, (round(seconds * SAMPLE_RATE), 2))
    with io.BytesIO() as file:
        soundfile.write(file, samples, SAMPLE_RATE, format="FLAC")
        return file.getvalue()


def report(what: str, **figures: object) -> None:
    print(f"{what}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


def digests(studio: Studio, job_ids: list[str]) -> dict[str, str]:
    """Of both stems of each job."""
    return {
        f"{job_id}/{stem}": sha256(studio.client.get(f"/api/jobs/{job_id}/stems/{stem}").content).hexdigest()
        for job_id in job_ids
        for stem in ("vocals", "accompaniment")
    }


async def upload_at_once(address: str, content: bytes, n_uploads: int) -> list[int]:
    limits = httpx.Limits(max_connections=n_uploads)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:
        posts = [
            client.post("/api/jobs", params={"name": f"{k}.flac"}, content=content) for k in range(n_uploads)
        ]
        return [answer.status_code for answer in await asyncio.gather(*posts)]


def upload_and_kill(data: Path, n_uploads: int) -> None:
    """Uploads at once; SIGKILL when a third is done; all the others done after the restart."""
    content, start = song(30), time.perf_counter()
    studio = Studio(data)
    assert asyncio.run(upload_at_once(studio.address, content, n_uploads)) == [201] * n_uploads
    report("uploads", number=n_uploads, seconds=round(time.perf_counter() - start, 1), **studio.seen)
    while sum(job["state"] == "done" for job in studio.jobs().values()) < n_uploads // 3:
        time.sleep(0.2)
    done = [job_id for job_id, job in studio.jobs().items() if job["state"] == "done"]
    before = digests(studio, done)
    studio.end(signal.SIGKILL)
    report("until SIGKILL", done=len(done), **studio.seen)
    studio = Studio(data)
    assert digests(studio, done) == before
    while any(job["state"] in ("queued", "running") for job in studio.jobs().values()):
        time.sleep(0.2)
    states = [job["state"] for job in studio.jobs().values()]
    assert set(states) <= {"done", "interrupted"}, states
    assert states.count("interrupted") <= 1
    assert len(states) == n_uploads
    report(
        "after the restart",
        done=states.count("done"),
        interrupted=states.count("interrupted"),
        **studio.seen,
        seconds=round(time.perf_counter() - start),
    )
    studio.end()


def claims(studio: Studio) -> None:
    """Files that are larger, or claim to be longer, than they should."""
    zeros = bytes(2**20)
    header = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE"
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 4 * 10**12, 4 * 10**12, 10**12, 0)
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, SAMPLE_RATE, 4 * SAMPLE_RATE, 4, 16)
    rf64 = header.replace(b"RIFF", b"RF64") + ds64 + fmt + b"data" + struct.pack("<I", 0xFFFFFFFF) + zeros
    wav = header + fmt + b"data" + struct.pack("<I", 0xFFFFFFF0) + zeros
    contents = {
        "1 GB of zeros": (zeros for _ in range(1000)),
        "500 MB of zeros": (zeros for _ in range(500)),
        "RF64 that claims 10^12 samples": rf64,
        "WAV that claims 4 GiB": wav,
    }
    for what, content in contents.items():
        try:
            answer = studio.client.post("/api/jobs", params={"name": "claim.wav"}, content=content)
            outcome = f"{answer.status_code} {answer.json().get('detail', answer.json().get('state'))}"
            assert answer.status_code < 500, outcome
        except httpx.TransportError as error:  # refused before all of it was sent
            outcome = f"connection closed ({type(error).__name__})"
        report(what, outcome=outcome)


def slow_clients(studio: Studio, n_clients: int = 20) -> None:
    """Clients that send a song in drops, and one that does not."""
    content = song(2)

    def drops() -> Iterator[bytes]:
        for start in range(0, len(content), len(content) // 20):
            yield content[start : start + len(content) // 20]
            time.sleep(0.5)

    with ThreadPoolExecutor(n_clients) as threads:
        slow = [
            threads.submit(studio.client.post, "/api/jobs", params={"name": "slow.flac"}, content=drops())
            for _ in range(n_clients)
        ]
        time.sleep(1)
        start = time.perf_counter()
        assert studio.client.post("/api/jobs", params={"name": "quick"}, content=content).status_code == 201
        quick = time.perf_counter() - start
        statuses = [each.result().status_code for each in slow]
    assert statuses == [201] * n_clients, statuses
    report("slow clients", served=len(statuses), quick_one_beside_them_s=round(quick, 2))


def schemathesis(studio: Studio) -> None:
    """Requests drawn from the OpenAPI document; no answer may be a 5xx."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{studio.address}/api/openapi.json",
        "--checks", "not_a_server_error", "--max-examples", "20", "--request-timeout", "30",
        "--exclude-path-regex", "events$",  # an event stream does not end
    ]  # fmt: skip
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    print(outcome.stdout[-1500:])
    assert outcome.returncode == 0, outcome.stderr


@contextmanager
def observed(data: Path) -> Iterator[Studio]:
    studio = Studio(data)
    try:
        yield studio
        report("meanwhile", **studio.seen)
    finally:
        studio.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--only", choices=PARTS)
    chosen = parser.parse_args()
    parts = [chosen.only] if chosen.only else PARTS
    with tempfile.TemporaryDirectory() as folder:
        if "load" in parts:
            upload_and_kill(Path(folder) / "load", chosen.uploads)
        if "claims" in parts:
            with observed(Path(folder) / "claims") as studio:
                claims(studio)
                slow_clients(studio)
        if "schemathesis" in parts:
            with observed(Path(folder) / "schema") as studio:
                schemathesis(studio)


if __name__ == "__main__":
    main()
