"""The page in a real browser: songs in, progress, playback in sync, downloads, keys, errors."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.studios import SAMPLE_RATE, StudioClient, running, separated, settings, song, upload

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    return os.environ.get("DUETTO_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    path = find_browser()
    if path is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}, or its path in DUETTO_BROWSER")
    with playwright.sync_playwright() as driver:
        # A sandbox of the browser's own is refused to root in a container; the pages are ours.
        browser = driver.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-audio-output", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, client: StudioClient) -> Iterator[object]:
    """The page of the studio; errors of its scripts fail the test."""
    context = browser.new_context(base_url=client.address, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
    page.goto("/")
    yield page
    context.close()
    assert errors == []


def open_song(page, job: dict) -> None:
    page.goto(f"/#{job['id']}")
    page.get_by_role("button", name="Play").wait_for()


def until(page, condition: str) -> None:
    """Wait for a condition; the policy of the page forbids what Playwright has for it."""
    end = time.monotonic() + 120
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"in vain: {condition}"
        time.sleep(0.03)


def position(page) -> float:
    return page.evaluate("studio.player.position")


def play_until(page, seconds: float) -> None:
    page.get_by_role("button", name="Play").click()
    until(page, f"studio.player.position > {seconds}")


RECORD = """
async ([seconds]) => {
  const { context, gains, master } = studio.player.graph;
  const recorder = context.createScriptProcessor(4096, gains.length, 1);
  const merger = context.createChannelMerger(gains.length);
  gains.forEach((gain, index) => {
    const splitter = context.createChannelSplitter(2);
    gain.connect(splitter);
    splitter.connect(merger, 0, index); // the left channel of every file
  });
  merger.connect(recorder);
  const blocks = gains.map(() => []);
  recorder.onaudioprocess = ({ inputBuffer }) => {
    blocks.forEach((block, index) => block.push(...inputBuffer.getChannelData(index)));
  };
  recorder.connect(context.destination);
  while (blocks[0].length < seconds * context.sampleRate) await new Promise((done) => setTimeout(done, 50));
  recorder.disconnect();
  return blocks;
}
"""


def record(page, seconds: float) -> np.ndarray:
    """What the gains of all files give while it plays (n_files, n_samples)."""
    return np.array(page.evaluate(RECORD, [seconds]))


def offset(samples: np.ndarray, recorded: np.ndarray) -> int:
    """Where a recorded passage lies in a file, which must hold it exactly."""
    n_fft = 2**20
    spectrum = np.fft.rfft(samples, n_fft) * np.fft.rfft(recorded, n_fft).conj()
    start = int(np.argmax(np.fft.irfft(spectrum)))
    assert np.abs(samples[start : start + len(recorded)] - recorded).max() < 1e-4
    return start


def left(client: StudioClient, job: dict, stem: str, folder: Path) -> np.ndarray:
    path = folder / "left.wav"
    path.write_bytes(client.get(f"/api/jobs/{job['id']}/stems/{stem}").content)
    return soundfile.read(path, always_2d=True)[0][:, 0]


@pytest.fixture(scope="module")
def longer(client: StudioClient, folder: Path) -> dict:
    """A job of 30 s, several chunks of the player."""
    return separated(client, song(folder / "thirty.wav", 30, seed=5))


def test_a_song_that_is_chosen_is_separated_and_opened(page, song_path):
    page.locator("#file").set_input_files(song_path)
    page.get_by_role("button", name="Play").wait_for()
    assert page.locator(".desk h2").inner_text() == "song.wav"
    assert page.locator("#songs li .name").first.inner_text() == "song.wav"


def test_a_song_that_is_dropped_is_separated(page, song_path):
    content = list(song_path.read_bytes())
    page.evaluate(
        """(content) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(content)], "dropped.wav"));
          const options = { dataTransfer, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", options));
        }""",
        content,
    )
    page.get_by_role("heading", name="dropped.wav").wait_for()
    page.get_by_role("button", name="Play").wait_for()


def test_the_example_is_three_clicks_from_a_karaoke_mp3(page, client):
    page.get_by_role("button", name="Try the example").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Accompaniment (karaoke)").click()
    name = download.value.suggested_filename
    assert name.startswith("example (accompaniment")
    assert name.endswith(".mp3")
    assert Path(download.value.path()).stat().st_size > 50_000


def test_progress_is_shown_and_can_be_cancelled(page, client, folder):
    job = upload(client, song(folder / "long.wav", 300, n_channels=1), model="rpca")  # a minute of work
    page.goto(f"/#{job['id']}")
    until(page, "document.querySelector('.waiting progress')?.value > 0")
    assert "left" in page.locator(".waiting .state").inner_text()
    page.locator(".waiting").get_by_role("button", name="Cancel").click()
    page.locator(".waiting .state", has_text="Cancelled").wait_for()
    assert client.get(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    page.locator(".waiting").get_by_role("button", name="Separate again").wait_for()


def test_both_stems_play_in_sync_to_the_sample(page, client, longer, folder):
    open_song(page, longer)
    play_until(page, 4.0)  # the recording crosses from the first chunk to the second, at 5 s
    recorded = record(page, 3.0)[:, SAMPLE_RATE // 4 :]
    places = [
        offset(left(client, longer, stem, folder), samples)
        for stem, samples in zip(("vocals", "accompaniment"), recorded, strict=True)
    ]
    assert abs(places[0] - places[1]) <= 0.001 * SAMPLE_RATE
    assert places[0] == places[1]


def test_the_clock_of_the_page_is_that_of_the_sound(page, longer):
    open_song(page, longer)
    play_until(page, 1.0)
    start, end = page.evaluate(
        """async () => {
          const read = () => [studio.player.position, studio.player.graph.context.currentTime];
          const start = read();
          await new Promise((done) => setTimeout(done, 1500));
          return [start, read()];
        }"""
    )
    assert end[0] - start[0] == pytest.approx(end[1] - start[1], abs=0.02)


def test_pause_keeps_the_place(page, longer):
    open_song(page, longer)
    play_until(page, 1.0)
    page.get_by_role("button", name="Pause").click()
    place = position(page)
    time.sleep(0.5)
    assert position(page) == place


def test_mute_and_solo_silence_a_stem_and_not_the_other(page, longer):
    open_song(page, longer)
    play_until(page, 0.5)
    page.get_by_role("button", name="Mute: vocals").click()
    levels = np.abs(record(page, 1.5)[:, SAMPLE_RATE // 2 :]).max(axis=1)
    assert levels[0] < 1e-4 < 0.01 < levels[1]
    page.get_by_role("button", name="Solo: vocals").click()
    page.get_by_role("button", name="Mute: vocals").click()
    levels = np.abs(record(page, 1.5)[:, SAMPLE_RATE // 2 :]).max(axis=1)
    assert levels[1] < 1e-4 < 0.005 < levels[0]


def test_the_mixture_is_heard_whatever_the_balance(page, client, longer, folder):
    open_song(page, longer)
    page.get_by_role("button", name="Mute: vocals").click()
    page.get_by_role("button", name="Listen to the mixture").click()
    play_until(page, 1.0)
    recorded = record(page, 1.5)[:, SAMPLE_RATE // 4 :].sum(axis=0)
    path = folder / "thirty.wav"
    offset(soundfile.read(path)[0][:, 0], recorded)


def test_a_click_into_a_picture_seeks(page, longer):
    open_song(page, longer)
    box = page.locator(".lane.vocals .area").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert position(page) == pytest.approx(15, abs=0.1)
    play_until(page, 15.2)
    assert position(page) < 20


def test_a_drag_repeats_a_passage(page, longer):
    open_song(page, longer)
    box = page.locator(".lane.vocals .area").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], y, steps=5)
    page.mouse.up()
    start, stop = page.evaluate("studio.player.loop")
    assert (start, stop) == (pytest.approx(15, abs=0.1), pytest.approx(16.5, abs=0.1))
    play_until(page, start + 0.2)
    places = []
    for _ in range(40):
        places.append(position(page))
        time.sleep(0.1)
    assert min(places) >= start - 0.01
    assert max(places) <= stop + 0.01
    assert np.sum(np.diff(places) < -1) >= 2


def test_a_loop_has_no_gap(page, client, longer, folder):
    open_song(page, longer)
    page.evaluate("studio.player.setLoop([4.5, 5.5])")  # over the border of two chunks
    play_until(page, 4.7)
    recorded = record(page, 3.0)[0, SAMPLE_RATE // 4 :]
    passage = left(client, longer, "vocals", folder)[round(4.5 * SAMPLE_RATE) : round(5.5 * SAMPLE_RATE)]
    offset(np.tile(passage, 5), recorded)


def test_a_long_song_is_fetched_in_parts(page, client, folder):
    path = folder / "twenty-minutes.wav"
    samples = np.random.default_rng(0).integers(-9000, 9000, 20 * 60 * 8000).astype(np.int16)
    soundfile.write(path, samples, 8000)
    job = separated(client, path)
    fetched: list[int] = []
    page.on("response", lambda response: fetched.append(int(response.headers.get("content-length", 0))))
    open_song(page, job)
    page.evaluate("studio.player.seek(1190)")
    play_until(page, 1192)
    assert sum(fetched) < 3_000_000  # of 38 MB of stems, with the pictures
    places = [
        offset(left(client, job, stem, folder)[1190 * 8000 :], recorded)
        for stem, recorded in zip(("vocals", "accompaniment"), record(page, 2.0)[:, 4000:], strict=True)
    ]
    assert places[0] == places[1]


def test_a_download_is_the_file_of_the_api(page, client, longer):
    open_song(page, longer)
    for choice, suffix in (("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mp3")):
        page.locator(".downloads label", has_text=choice).click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Vocals", exact=True).click()
        expected = client.get(f"/api/jobs/{longer['id']}/stems/vocals", params={"format": suffix}).content
        assert Path(download.value.path()).read_bytes() == expected


def test_the_balance_that_is_heard_is_downloaded(page, client, longer):
    open_song(page, longer)
    slider = page.get_by_role("slider", name="Volume: vocals")
    slider.fill("-12")
    page.locator(".downloads label", has_text="WAV").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="This balance").click()
    query = {"vocals": -12, "accompaniment": 0, "format": "wav"}
    expected = client.get(f"/api/jobs/{longer['id']}/mix", params=query).content
    assert Path(download.value.path()).read_bytes() == expected


def test_pictures_show_the_tracks_with_axes(page, longer):
    open_song(page, longer)
    until(page, "!document.querySelector('.lane.loading')")
    for lane in ("mixture", "vocals", "accompaniment"):
        colours = page.locator(f".lane.{lane} .spectrogram").evaluate(
            """(canvas) => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
        assert colours > 50
    assert page.locator(".lane.vocals .gutter span").all_inner_texts() == [
        "100 Hz",
        "300 Hz",
        "1 kHz",
        "3 kHz",
    ]
    assert page.locator(".ruler span").first.inner_text() == "0 s"
    assert page.locator(".ruler span").nth(1).inner_text() == "5 s"


def test_a_reload_shows_the_same_song(page, longer):
    open_song(page, longer)
    page.reload()
    page.get_by_role("button", name="Play").wait_for()
    assert page.locator(".desk h2").inner_text() == "thirty.wav"


def test_a_text_file_is_explained(page, folder):
    (folder / "letter.txt").write_text("Dear diary\n" * 99)
    page.locator("#file").set_input_files(folder / "letter.txt")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("letter.txt")


def test_names_are_text_and_not_markup(page, client, song_path):
    content = song_path.read_bytes()
    name = "<img src=x onerror=document.title='stolen'>.wav"
    client.post("/api/jobs", params={"name": name}, content=content)
    page.locator("#songs .name", has_text="onerror").first.wait_for()
    assert page.title() == "Duetto studio"


def test_all_is_done_by_keys_alone(page, longer):
    open_song(page, longer)
    page.keyboard.press("Space")
    until(page, "studio.player.isPlaying && studio.player.position > 0.3")
    page.keyboard.press("v")
    assert page.get_by_role("button", name="Mute: vocals").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Shift+A")
    assert page.get_by_role("button", name="Solo: accompaniment").get_attribute("aria-pressed") == "true"
    before = position(page)
    page.keyboard.press("ArrowRight")
    assert position(page) == pytest.approx(before + 5, abs=0.7)
    page.keyboard.press("l")
    assert page.evaluate("studio.player.loop") is not None
    page.keyboard.press("Space")
    assert page.evaluate("studio.player.isPlaying") is False
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel")
        )
    assert {"Choose a song", "Try the example", "Play", "Mute", "Volume: vocals", "Vocals"} <= reached


def test_a_narrow_window_shows_all_of_it(browser, client, longer):
    context = browser.new_context(
        base_url=client.address, viewport={"width": 375, "height": 740}, has_touch=True
    )
    page = context.new_page()
    open_song(page, longer)
    until(page, "!document.querySelector('.lane.loading')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for control in page.locator("button:visible, select:visible, input[type=range]:visible").all():
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 375
    context.close()


@pytest.mark.xfail(reason="after the other tests of the page it fails at times; the cause is not found yet")
def test_two_models_are_compared_while_it_plays(page, client, done):
    other = client.post(f"/api/jobs/{done['id']}/again", params={"model": "rpca"}).json()
    page.goto(f"/#{done['id']}+{other['id']}")
    page.get_by_role("button", name="B: rpca").wait_for()
    assert (
        page.locator(".lane").count() == 8
    )  # the mixture, two stems of two models, two differences, the axis
    page.evaluate("studio.player.setLoop([0, 1.9])")
    play_until(page, 0.2)
    page.get_by_role("button", name="B: rpca").click()
    levels = np.abs(record(page, 1.5)[:, SAMPLE_RATE // 2 :]).max(axis=1)
    assert max(levels[:2]) < 1e-4 < min(levels[2:])
    assert page.evaluate("studio.player.isPlaying")
    page.get_by_role("button", name="Listen to the difference").first.click()
    levels = np.abs(record(page, 1.5)[:, SAMPLE_RATE // 2 :]).max(axis=1)
    assert max(levels[1], levels[3]) < 1e-4 < min(levels[0], levels[2])


def test_a_folder_of_references_scores_the_stems(page, client, done, folder):
    references = folder / "references"
    references.mkdir(exist_ok=True)
    for stem in ("vocals", "accompaniment"):
        content = client.get(f"/api/jobs/{done['id']}/stems/{stem}").content
        (references / f"my {stem}.wav").write_bytes(content)
    open_song(page, done)
    page.locator(".research summary").click()
    page.locator(".research input[webkitdirectory]").set_input_files(references)
    until(page, "document.querySelector('.lane.vocals .scores').textContent.startsWith('SDR')")
    assert "SIR" in page.locator(".lane.accompaniment .scores").inner_text()


def test_colours_are_light_or_dark(page, longer):
    open_song(page, longer)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Switch to the dark colours").click()
    assert page.evaluate(paper) != light
    page.reload()
    page.get_by_role("button", name="Switch to the light colours").wait_for()
    assert page.evaluate(paper) != light


def test_the_page_is_small_and_comes_from_the_studio_alone(browser, client):
    context = browser.new_context(base_url=client.address)
    page = context.new_page()
    responses = []
    page.on("response", lambda response: responses.append(response))
    page.goto("/", wait_until="load")
    page.locator("#model-choice option").first.wait_for(state="attached")
    urls = [response.url for response in responses]
    assert all(url.startswith(client.address) for url in urls)
    sizes = [len(response.body()) for response in responses if "/api/" not in response.url]
    assert len(sizes) >= 15
    assert sum(sizes) < 100_000
    context.close()


def test_the_token_opens_the_page_in_a_browser(browser, folder, song_path):
    token = "a-token-of-the-tests"
    with running(settings(folder / "with-token", host="0.0.0.0", token=token)) as client:
        context = browser.new_context(base_url=client.address)
        page = context.new_page()
        assert page.goto("/").status == 401
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Open").click()
        page.locator("#file").set_input_files(song_path)
        page.get_by_role("button", name="Play").wait_for()
        assert token not in page.url
        context.close()
