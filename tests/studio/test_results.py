"""What comes out: stems, formats, balances, differences, pictures and scores."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

import duetto
from helpers.studios import SAMPLE_RATE, separated, song, wait_for

pytestmark = pytest.mark.slow


def read(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="int16")[0].astype(int)


def get(client, job: dict, path: str, **query: object) -> bytes:
    response = client.get(f"/api/jobs/{job['id']}/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.content


def test_stems_sum_to_the_song(client, done, song_path):
    vocals, accompaniment = (read(get(client, done, f"stems/{stem}")) for stem in ("vocals", "accompaniment"))
    assert np.abs(vocals).max() > 0
    assert np.array_equal(vocals + accompaniment, read(song_path.read_bytes()))


def test_stems_are_those_of_the_separator(client, done, song_path, folder):
    audio, sample_rate = duetto.load_audio(song_path)
    expected = duetto.Separator(folder / "tiny.onnx").separate(audio, sample_rate)["vocals"]
    vocals = read(get(client, done, "stems/vocals")).T / 2**15
    assert np.abs(vocals - expected).max() <= 0.51 / 2**15


def test_a_job_tells_what_the_song_is(done):
    facts = {key: done[key] for key in ("name", "model", "sample_rate", "n_channels", "n_samples", "formats")}
    assert facts["name"] == "song.wav"
    assert facts["model"] == "tiny"
    assert (facts["sample_rate"], facts["n_channels"], facts["n_samples"]) == (
        SAMPLE_RATE,
        2,
        2 * SAMPLE_RATE,
    )
    assert facts["formats"] == ["wav", "flac", "mp3"]


def test_range_requests_give_parts_of_a_stem(client, done):
    whole = get(client, done, "stems/vocals")
    response = client.get(f"/api/jobs/{done['id']}/stems/vocals", headers={"range": "bytes=100-299"})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes 100-299/{len(whole)}"
    assert response.content == whole[100:300]
    assert (
        client.get(f"/api/jobs/{done['id']}/stems/vocals", headers={"range": "bytes=9999999-"}).status_code
        == 416
    )


def test_flac_holds_the_same_samples(client, done):
    assert np.array_equal(
        read(get(client, done, "stems/vocals", format="flac")), read(get(client, done, "stems/vocals"))
    )


def test_mp3_is_the_same_sound(client, done):
    wav = read(get(client, done, "stems/accompaniment"))
    mp3 = read(get(client, done, "stems/accompaniment", format="mp3"))[: len(wav)]
    error = np.sum((mp3 - wav[: len(mp3)]) ** 2) / np.sum(wav**2)
    assert abs(len(mp3) - len(wav)) < 0.1 * SAMPLE_RATE
    assert error < 0.2  # noise codes badly, silence would have 1


def test_downloads_are_named_after_the_song(client, done):
    response = client.get(f"/api/jobs/{done['id']}/stems/accompaniment", params={"format": "mp3"})
    assert response.headers["content-type"] == "audio/mpeg"
    assert "filename" in response.headers["content-disposition"]
    assert "song" in response.headers["content-disposition"]


def test_a_mix_has_the_levels_asked_for(client, done):
    vocals, accompaniment = (read(get(client, done, f"stems/{stem}")) for stem in ("vocals", "accompaniment"))
    mix = read(get(client, done, "mix", vocals=-6, accompaniment=0))
    expected = 10 ** (-6 / 20) * vocals + accompaniment
    assert np.abs(mix - expected).max() <= 0.5


def test_the_mix_of_both_is_the_song(client, done, song_path):
    mix = get(client, done, "mix", vocals=0, accompaniment=0)
    assert np.array_equal(read(mix), read(song_path.read_bytes()))


def test_a_mix_of_nothing_is_refused(client, done):
    assert client.get(f"/api/jobs/{done['id']}/mix").status_code == 422


def test_a_mix_says_how_much_was_clipped(client, done):
    stem = read(get(client, done, "stems/accompaniment"))
    n_beyond = int(np.sum(np.abs(10 ** (12 / 20) * stem) > 32767.5))
    response = client.get(f"/api/jobs/{done['id']}/mix", params={"accompaniment": 12})
    assert int(response.headers["x-clipped-samples"]) == n_beyond


def test_jobs_of_one_song_have_a_difference(client, done):
    again = client.post(f"/api/jobs/{done['id']}/again", params={"model": "rpca"}).json()
    other = wait_for(client, again["id"], lambda job: job["state"] == "done")
    assert other["sha256"] == done["sha256"]
    difference = read(get(client, done, f"differences/{other['id']}/vocals"))
    stems = [read(get(client, job, "stems/vocals")) for job in (done, other)]
    assert np.array_equal(difference, np.clip(stems[0] - stems[1], -32768, 32767))
    assert np.abs(difference).max() > 0
    picture = client.get(f"/api/jobs/{done['id']}/differences/{other['id']}/vocals/picture").json()
    assert max(base64.b64decode(picture["levels"])) > 0


def test_jobs_of_two_songs_have_no_difference(client, done, folder):
    other = separated(client, song(folder / "other.wav", seed=1))
    response = client.get(f"/api/jobs/{done['id']}/differences/{other['id']}/vocals")
    assert response.status_code == 422
    assert "different songs" in response.json()["detail"]


@pytest.fixture(scope="module")
def tone(client, folder) -> dict:
    """A job of a 1 kHz tone that begins after one second of three, at -6 dB."""
    time_axis = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    samples = 0.5 * np.sin(2 * np.pi * 1000 * time_axis) * (time_axis >= 1)
    soundfile.write(folder / "tone.wav", samples, SAMPLE_RATE)
    return separated(client, folder / "tone.wav")


def test_the_spectrogram_shows_hertz_seconds_and_decibels(client, tone):
    picture = client.get(f"/api/jobs/{tone['id']}/pictures/mixture").json()
    levels = np.frombuffer(base64.b64decode(picture["levels"]), np.uint8)
    levels = levels.reshape(picture["n_bands"], picture["n_columns"])
    edges = np.geomspace(picture["lowest_hertz"], picture["highest_hertz"], picture["n_bands"] + 1)
    loudest = levels[:, 2 * picture["n_columns"] // 3].argmax()
    assert edges[loudest] * 0.97 < 1000 < edges[loudest + 1] * 1.03
    scale = (picture["ceiling_db"] - picture["floor_db"]) / 255
    assert levels.max() * scale + picture["floor_db"] == pytest.approx(20 * np.log10(0.5), abs=0.3)
    assert levels[:, : int(0.3 * picture["n_columns"])].max() == 0
    assert picture["duration_seconds"] == 3


def test_the_waveform_shows_the_extremes(client, tone):
    picture = client.get(f"/api/jobs/{tone['id']}/pictures/mixture").json()
    extremes = np.frombuffer(base64.b64decode(picture["extremes"]), np.int8).reshape(-1, 2)
    n_columns = picture["n_columns"]
    assert np.all(extremes[: n_columns // 3 - 1] == 0)
    assert np.all(np.abs(extremes[n_columns // 3 + 1 :] - [-64, 64]) <= 1)


def test_scores_are_those_of_bss_eval(client, folder):
    rng = np.random.default_rng(3)
    sources = {"vocals": rng.normal(0, 0.1, (8000, 1)), "accompaniment": rng.normal(0, 0.1, (8000, 1))}
    for stem, samples in sources.items():
        soundfile.write(folder / f"{stem}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(folder / "sum.wav", sum(sources.values()), SAMPLE_RATE, subtype="FLOAT")
    job = separated(client, folder / "sum.wav")
    for stem in sources:
        content = (folder / f"{stem}.wav").read_bytes()
        assert client.put(f"/api/jobs/{job['id']}/references/{stem}", content=content).status_code == 200
    job = wait_for(client, job["id"], lambda job: job["scoring"] in ("done", "failed"))
    estimates = {}
    for stem in sources:
        (folder / "estimate.wav").write_bytes(get(client, job, f"stems/{stem}"))
        estimates[stem] = duetto.load_audio(folder / "estimate.wav")[0]
    references = {stem: duetto.load_audio(folder / f"{stem}.wav")[0] for stem in sources}
    for stem, scores in duetto.bss_eval(references, estimates).items():
        assert job["scores"][stem]["sdr"] == pytest.approx(scores.sdr, abs=1e-3)
        assert job["scores"][stem]["sar"] == pytest.approx(scores.sar, abs=1e-3)


def test_a_reference_of_another_length_is_refused(client, done, folder):
    content = song(folder / "long.wav", 3).read_bytes()
    response = client.put(f"/api/jobs/{done['id']}/references/vocals", content=content)
    assert response.status_code == 422
    assert "3.00 s" in response.json()["detail"]


def test_the_example_is_separated(client):
    job = client.post("/api/jobs/example").json()
    job = wait_for(client, job["id"], lambda job: job["state"] == "done")
    assert (job["name"], job["sample_rate"]) == ("example.flac", 44100)


def test_audio_that_mp3_cannot_hold_has_no_mp3(client, folder: Path):
    samples = np.random.default_rng(0).normal(0, 0.1, (96_000, 2))
    soundfile.write(folder / "fine.flac", samples, 96_000, subtype="PCM_24")
    job = separated(client, folder / "fine.flac")
    assert job["formats"] == ["wav", "flac"]
    response = client.get(f"/api/jobs/{job['id']}/stems/vocals", params={"format": "mp3"})
    assert response.status_code == 422
    assert "cannot hold" in response.json()["detail"]
