"""What may come in: limits of bytes, duration and number, names, and what is no audio."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.studios import SAMPLE_RATE, has_ended, running, separated, settings, song, upload, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(folder: Path):
    """A studio of small limits."""
    with running(settings(folder / "small", max_upload_bytes=2**20, max_seconds=20.0)) as client:
        yield client


def folders(folder: Path, name: str) -> list[Path]:
    return list((folder / name / "jobs").iterdir())


def refused(client, content: object, name: str = "song.wav", **headers: str) -> tuple[int, str]:
    n_before = len(client.get("/api/jobs").json())
    response = client.post("/api/jobs", params={"name": name}, content=content, headers=headers)
    assert len(client.get("/api/jobs").json()) == n_before
    return response.status_code, response.json()["detail"]


@pytest.mark.parametrize("content", [b"Dear diary,\n" * 50, b"RIFF\x24\0\0\0WAVEfmt ", b"\0" * 5000])
def test_what_is_no_audio_is_refused(small, folder, content):
    status, detail = refused(small, content, name="diary.mp3")
    assert status == 422
    assert detail.startswith("diary.mp3")
    assert str(folder) not in detail
    assert folders(folder, "small") == []


def test_audio_is_known_by_its_content(small, folder):
    path = song(folder / "song.wav", 0.5)
    (folder / "notes.txt").write_bytes(path.read_bytes())
    assert separated(small, folder / "notes.txt")["name"] == "notes.txt"


def test_an_empty_file_is_refused(small):
    assert refused(small, b"") == (400, "the file is empty (0 bytes); choose a file with audio in it")


def test_too_many_bytes_are_refused(small, folder):
    before = folders(folder, "small")
    status, detail = refused(small, b"\0" * (2**20 + 1))
    assert status == 413
    assert "1 MiB" in detail
    assert folders(folder, "small") == before


def test_too_many_bytes_are_refused_though_none_were_announced(small):
    assert refused(small, (b"\0" * 2**16 for _ in range(17)))[0] == 413


def test_a_small_file_of_a_long_song_is_refused(small, folder):
    soundfile.write(folder / "silence.flac", np.zeros(60 * SAMPLE_RATE), SAMPLE_RATE)
    content = (folder / "silence.flac").read_bytes()
    assert len(content) < 2**16
    status, detail = refused(small, content)
    assert status == 422
    assert "(1.0)" in detail


def test_a_file_that_conceals_its_length_is_stopped(small, folder):
    soundfile.write(folder / "silence.flac", np.zeros(60 * SAMPLE_RATE), SAMPLE_RATE)
    content = bytearray((folder / "silence.flac").read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # STREAMINFO: the number of samples is unknown
    response = small.post("/api/jobs", params={"name": "song.flac"}, content=bytes(content))
    if response.status_code == 201:
        job = wait_for(small, response.json()["id"], has_ended)
        assert job["state"] == "failed"
        assert not list((folder / "small" / "jobs" / job["id"]).glob("*.wav"))
    else:
        assert response.status_code == 422


def test_a_header_that_promises_more_than_there_is_is_refused(small, folder):
    content = bytearray(song(folder / "song.wav", 0.5).read_bytes())
    content[40:44] = (2**20).to_bytes(4, "little")
    assert refused(small, bytes(content))[0] == 422


def test_names_are_shown_and_are_no_paths(small, folder):
    content = song(folder / "song.wav", 0.5).read_bytes()
    outside = sorted(folder.iterdir())
    name = "../../../<b>etc</b>/pass\nwd\x00.wav"
    response = small.post("/api/jobs", params={"name": name}, content=content)
    assert response.json()["name"] == "../../../<b>etc</b>/pass wd .wav"
    assert sorted(folder.iterdir()) == outside


@pytest.mark.parametrize("job_id", ["0123456789abcdef", "..%2f..%2fetc", "x"])
def test_unknown_jobs_are_not_found(small, job_id):
    assert small.get(f"/api/jobs/{job_id}/stems/vocals").status_code in (404, 422)


def test_an_unknown_model_is_refused(small):
    response = small.post("/api/jobs/example", params={"model": "/etc/passwd"})
    assert response.status_code == 404
    assert "rpca" in response.json()["detail"]


def test_more_songs_than_the_queue_holds_are_refused(folder):
    path = song(folder / "long.wav", 60)
    with running(settings(folder / "short-queue", max_jobs=2)) as client:
        jobs = [upload(client, path, model="rpca") for _ in range(2)]
        status, detail = refused(client, path.read_bytes())
        assert status == 429
        assert "try again later" in detail
        for job in jobs:
            client.delete(f"/api/jobs/{job['id']}")
        assert upload(client, path, model="rpca")["state"] in ("queued", "running")


def test_more_channels_than_a_browser_plays_are_refused(small, folder):
    soundfile.write(folder / "many.wav", np.zeros((1000, 9)), SAMPLE_RATE)
    status, detail = refused(small, (folder / "many.wav").read_bytes())
    assert status == 422
    assert "9 channels" in detail
