"""What the page plays, to the sample: rendered by the browser's own audio engine, in steps of audio time."""

import io

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers.pages import OfflineSound, open_song, until
from helpers.studios import SAMPLE_RATE, StudioClient, separated, wait_for

pytestmark = pytest.mark.slow

EXACT = 1e-6  # 32-bit floating point, and times of samples in seconds
FADE = round(0.1 * SAMPLE_RATE)  # 25 time constants of the player's fades


@pytest.fixture
def sound(page) -> OfflineSound:
    return OfflineSound(page)


def press(page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def left_channels(client: StudioClient, job: dict) -> NDArray[np.float32]:
    """The left channels of both stems (2, n_samples)."""
    contents = [client.get(f"/api/jobs/{job['id']}/stems/{s}").content for s in ("vocals", "accompaniment")]
    return np.stack([soundfile.read(io.BytesIO(content), always_2d=True)[0][:, 0] for content in contents])


def distance(played: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference of two signals, of which the second may last longer."""
    return float(np.abs(played - expected[..., : played.shape[-1]]).max())


def song_start(sound: OfflineSound, sample_rate: int = SAMPLE_RATE) -> int:
    """Where the song's first sample would lie among those played, by the position that the page shows."""
    return round((sound.time - sound.position) * sample_rate)


def test_both_stems_play_in_sync_to_the_sample(page, sound, client, longer):
    open_song(page, longer)
    press(page, "Play")
    sound.advance(11)  # from the first chunk of the player into the third
    start = song_start(sound)
    *played, heard = sound.end()
    assert len(heard) > 10.9 * SAMPLE_RATE
    assert not np.any(np.abs(played)[:, :start])
    expected = left_channels(client, longer)
    assert distance(np.stack(played)[:, start:], expected) < EXACT
    assert distance(heard[start + FADE :], expected.sum(axis=0)[FADE:]) < EXACT


def test_the_clock_of_the_page_is_that_of_the_sound(page, sound, longer):
    open_song(page, longer)
    press(page, "Play")
    sound.advance(1)
    before = sound.time - sound.position
    sound.advance(6)
    assert sound.time - sound.position == pytest.approx(before, abs=1.01 / SAMPLE_RATE)


def test_a_song_plays_in_real_time_and_ends_at_its_beginning(page, done):
    open_song(page, done)
    press(page, "Play")
    until(page, "studio.player.graph.context?.currentTime > 2 && !studio.player.isPlaying")
    assert page.evaluate("studio.player.position") == 0


def test_pause_keeps_the_place(page, sound, client, longer):
    open_song(page, longer)
    press(page, "Play")
    place, pause = sound.advance(1), sound.time
    press(page, "Pause")
    assert sound.position == place
    assert sound.advance(1) == place
    press(page, "Play")
    sound.advance(1)
    start = song_start(sound)
    played = sound.end()
    silence, stop, again = (round((pause + seconds) * SAMPLE_RATE) for seconds in (0.05, 1, 1.1))
    assert np.abs(played[:, silence:stop]).max() == 0
    assert distance(played[:2, again:], left_channels(client, longer)[:, again - start :]) < EXACT


def test_mute_and_solo_silence_a_stem_and_not_the_other(page, sound, client, longer):
    open_song(page, longer)
    press(page, "Play")
    sound.advance(1)
    press(page, "Mute: vocals")
    muted, start = round(sound.time * SAMPLE_RATE), song_start(sound)
    sound.advance(1)
    press(page, "Solo: vocals")
    press(page, "Mute: vocals")
    solo = round(sound.time * SAMPLE_RATE)
    sound.advance(1)
    vocals, accompaniment, _ = sound.end()
    expected = left_channels(client, longer)
    assert np.abs(vocals[muted + FADE : solo]).max() < EXACT
    assert distance(accompaniment[start:solo], expected[1]) < EXACT
    assert np.abs(accompaniment[solo + FADE :]).max() < EXACT
    assert distance(vocals[solo + FADE :], expected[0, solo + FADE - start :]) < EXACT


def test_the_mixture_is_heard_whatever_the_balance_and_without_a_gap(page, sound, client, longer, folder):
    open_song(page, longer)
    press(page, "Mute: vocals")
    press(page, "Play")
    sound.advance(1)
    press(page, "Listen to the mixture")
    switch, start = round(sound.time * SAMPLE_RATE), song_start(sound)
    sound.advance(1)
    _, accompaniment, heard = sound.end()
    mixture = soundfile.read(folder / "thirty.wav")[0][:, 0]
    alone = left_channels(client, longer)[1]
    assert distance(heard[start + FADE : switch], alone[FADE:]) < EXACT
    assert distance(heard[switch + FADE :], mixture[switch + FADE - start :]) < EXACT
    assert distance(accompaniment[start:], alone) < EXACT


def test_a_click_into_a_picture_seeks(page, sound, client, longer):
    open_song(page, longer)
    press(page, "Play")
    sound.advance(1)
    box = page.locator(".lane.vocals .area").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert sound.position == pytest.approx(15, abs=0.1)
    seek = round(sound.time * SAMPLE_RATE)
    sound.advance(6)  # into the chunk that follows
    start = song_start(sound)
    *played, heard = sound.end()
    expected = left_channels(client, longer)[:, seek + 2 * FADE - start :]
    assert distance(np.stack(played)[:, seek + 2 * FADE :], expected) < EXACT
    assert distance(heard[seek + 2 * FADE :], expected.sum(axis=0)) < EXACT


def test_a_drag_repeats_a_passage(page, sound, longer):
    open_song(page, longer)
    box = page.locator(".lane.vocals .area").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], y, steps=5)
    page.mouse.up()
    start, stop = page.evaluate("studio.player.loop")
    assert (start, stop) == (pytest.approx(15, abs=0.1), pytest.approx(16.5, abs=0.1))
    press(page, "Play")
    places = np.array([sound.advance(0.25) for _ in range(16)])
    assert start <= places.min()
    assert places.max() <= stop
    assert np.sum(np.diff(places) < -1) == 2


def test_a_loop_has_no_gap(page, sound, client, longer):
    open_song(page, longer)
    page.evaluate("studio.player.setLoop([4.5, 5.5])")  # across the border of two chunks
    press(page, "Play")
    sound.advance(0.5)
    begin = song_start(sound) + round(4.5 * SAMPLE_RATE)
    sound.advance(4)
    played = sound.end()[:2, begin:]
    passage = left_channels(client, longer)[:, round(4.5 * SAMPLE_RATE) : round(5.5 * SAMPLE_RATE)]
    assert distance(played, np.tile(passage, 5)) < EXACT


def test_a_long_song_is_fetched_in_parts(page, sound, client, folder):
    path = folder / "twenty-minutes.wav"
    samples = np.random.default_rng(0).integers(-9000, 9000, 20 * 60 * 8000).astype(np.int16)
    soundfile.write(path, samples, 8000)
    job = separated(client, path)
    fetched: list[int] = []
    page.on("response", lambda response: fetched.append(int(response.headers.get("content-length", 0))))
    open_song(page, job)
    page.evaluate("studio.player.seek(1190)")
    press(page, "Play")
    sound.advance(7)
    start = song_start(sound, 8000)
    played = sound.end()[:2]
    first = start + 1190 * 8000
    assert distance(played[:, first:], left_channels(client, job)[:, 1190 * 8000 :]) < EXACT
    assert sum(fetched) < 3_000_000  # of 38 MB of stems, with the pictures


def test_two_models_are_compared_while_it_plays(page, sound, client, done):
    other = client.post(f"/api/jobs/{done['id']}/again", params={"model": "rpca"}).json()
    wait_for(client, other["id"], lambda job: job["state"] == "done")
    page.goto(f"/#{done['id']}+{other['id']}")
    page.get_by_role("button", name="B: rpca").wait_for()
    # the mixture, two stems of two models, two differences, the axis
    assert page.locator(".lane").count() == 8
    page.evaluate("studio.player.setLoop([0, 1.9])")
    press(page, "Play")
    sound.advance(1)
    press(page, "B: rpca")
    switch = round(sound.time * SAMPLE_RATE)
    sound.advance(1)
    page.get_by_role("button", name="Listen to the difference").first.click()
    difference = round(sound.time * SAMPLE_RATE)
    sound.advance(1)
    played = sound.end()
    first, second, third = (
        np.abs(played[:, part]).max(axis=1)
        for part in (
            slice(FADE, switch), slice(switch + FADE, difference), slice(difference + FADE, None)
        )
    )  # fmt: skip
    assert max(first[2:4]) == 0 < 0.001 < min(first[:2])
    assert max(second[:2]) < EXACT < 0.001 < min(second[2:4])
    assert max(third[1], third[3]) < EXACT < 0.001 < min(third[0], third[2])
    heard = played[4] - (played[0] + played[2])  # vocals of A, and those of B with a gain of -1
    assert np.abs(heard[difference + FADE :]).max() < EXACT
