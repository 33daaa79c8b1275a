"""The page in a real browser: songs in, progress, pictures, downloads, keys, errors."""

from pathlib import Path

import pytest

from helpers.pages import open_song, opened, until
from helpers.studios import running, settings, song, upload, wait_for

pytestmark = pytest.mark.slow


def test_a_song_that_is_chosen_is_separated_and_opened(page, song_path):
    page.goto("/")
    page.locator("#file").set_input_files(song_path)
    page.get_by_role("button", name="Play").wait_for()
    assert page.locator(".desk h2").inner_text() == "song.wav"
    assert page.locator("#songs li .name").first.inner_text() == "song.wav"


def test_a_song_that_is_dropped_is_separated(page, song_path):
    page.goto("/")
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
    page.goto("/")
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


def test_a_reload_shows_the_same_comparison(page, client, done):
    """The jobs arrive one after the other: once the page kept what the first alone gave."""
    other = client.post(f"/api/jobs/{done['id']}/again").json()
    wait_for(client, other["id"], lambda job: job["state"] == "done")
    page.goto(f"/#{done['id']}+{other['id']}")
    page.get_by_role("button", name="B: tiny").wait_for()
    page.reload()
    page.get_by_role("button", name="B: tiny").wait_for()


def test_a_page_in_the_background_holds_no_connection(page, client, song_path):
    """A browser opens six connections to a server: with an event stream in each tab, the seventh hung."""
    page.add_init_script(
        """
        window.sources = [];
        window.EventSource = class extends EventSource {
          constructor(url) { super(url); sources.push(this); }
        };
        window.show = (isShown) => {
          Object.defineProperty(document, "hidden", { value: !isShown, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        };
        """
    )
    page.goto("/")
    page.evaluate("show(false)")
    assert page.evaluate("sources.map(({ readyState }) => readyState)") == [2]
    job = upload(client, song_path)
    page.evaluate("show(true)")
    page.locator(f"#songs a[href='#{job['id']}']").wait_for()
    assert page.evaluate("sources.length") == 2


def test_a_text_file_is_explained(page, folder):
    page.goto("/")
    (folder / "letter.txt").write_text("Dear diary\n" * 99)
    page.locator("#file").set_input_files(folder / "letter.txt")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("letter.txt")


def test_names_are_text_and_not_markup(page, client, song_path):
    page.goto("/")
    content = song_path.read_bytes()
    name = "<img src=x onerror=document.title='stolen'>.wav"
    client.post("/api/jobs", params={"name": name}, content=content)
    page.locator("#songs .name", has_text="onerror").first.wait_for()
    assert page.title() == "Duetto studio"


def test_all_is_done_by_keys_alone(page, longer):
    open_song(page, longer)
    page.keyboard.press("Space")
    until(page, "studio.player.isPlaying && studio.player.position > 0.3")
    page.keyboard.press("Space")
    assert page.evaluate("studio.player.isPlaying") is False
    page.keyboard.press("v")
    assert page.get_by_role("button", name="Mute: vocals").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Shift+A")
    assert page.get_by_role("button", name="Solo: accompaniment").get_attribute("aria-pressed") == "true"
    before = page.evaluate("studio.player.position")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("studio.player.position") == pytest.approx(before + 5)
    page.keyboard.press("l")
    assert page.evaluate("studio.player.loop") is not None
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.textContent.trim() || document.activeElement.ariaLabel")
        )
    assert {"Choose a song", "Try the example", "Play", "Mute", "Volume: vocals", "Vocals"} <= reached


def test_a_narrow_window_shows_all_of_it(browser, client, longer):
    with opened(browser, client, viewport={"width": 375, "height": 740}, has_touch=True) as page:
        open_song(page, longer)
        until(page, "!document.querySelector('.lane.loading')")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        for control in page.locator("button:visible, select:visible, input[type=range]:visible").all():
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 375


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
    with opened(browser, client) as page:
        responses = []
        page.on("response", lambda response: responses.append(response))
        page.goto("/")
        page.locator("#model-choice option").first.wait_for(state="attached")
        assert all(response.url.startswith(client.address) for response in responses)
        sizes = [len(response.body()) for response in responses if "/api/" not in response.url]
    assert len(sizes) >= 15
    assert sum(sizes) < 100_000


def test_the_token_opens_the_page_in_a_browser(browser, folder, song_path):
    token = "a-token-of-the-tests"
    chosen = settings(folder / "with-token", host="0.0.0.0", token=token)
    with running(chosen) as client, opened(browser, client) as page:
        assert page.goto("/").status == 401
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Open").click()
        page.locator("#model-choice option").first.wait_for(state="attached")  # its scripts run
        page.locator("#file").set_input_files(song_path)
        page.get_by_role("button", name="Play").wait_for()
        assert token not in page.url
