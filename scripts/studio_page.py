"""Measures the studio's page in a browser: first paint, bytes transferred, and the time until a song plays.

    python scripts/studio_page.py [--minutes 4] [--loads 10] [--pictures docs]

Each load has an empty cache. --pictures takes the pictures of the guide instead.
Needs Chromium and Playwright.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from studio_load import Studio, observed, report, song

FIRST_PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""
BYTES = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/api/"))
  .map(({ transferSize }) => transferSize)
"""
PLAY_AT_ONCE = """
setInterval(() => {
  const player = window.studio?.player;
  if (player && !player.isPlaying) player.play();
  if (player?.position > 0) window.playedAt ??= Date.now() / 1000;
}, 10);
"""


@contextmanager
def opened(browser: Any, **options: Any) -> Iterator[Any]:
    page = browser.new_page(**options)
    page.set_default_timeout(600_000)
    yield page
    page.close()


def measure_loads(browser: Any, address: str, n_loads: int) -> None:
    """First paint and transferred bytes of the empty page."""
    paints, sizes = [], []
    for _ in range(n_loads):
        with opened(browser) as page:
            page.goto(address)
            page.locator("#model-choice option").first.wait_for(state="attached")
            paints.append(page.evaluate(FIRST_PAINT))
            sizes = page.evaluate(BYTES)
    report(
        "page",
        first_paint_ms=f"{min(paints):.0f} to {max(paints):.0f}, median {statistics.median(paints):.0f}",
        files=len(sizes),
        transferred_kB=round(sum(sizes) / 1000, 1),
    )


def measure_song(browser: Any, studio: Studio, minutes: float) -> None:
    """Seconds from the end of a separation to its first sound in a page that waits for it."""
    answer = studio.client.post("/api/jobs", params={"name": "song.flac"}, content=song(60 * minutes))
    job_id = answer.json()["id"]
    with opened(browser) as page:
        page.add_init_script(PLAY_AT_ONCE)
        page.goto(f"{studio.address}/#{job_id}")
        while (played_at := page.evaluate("window.playedAt")) is None:
            page.wait_for_timeout(50)
    job = studio.client.get(f"/api/jobs/{job_id}").json()
    report(
        f"song of {minutes:g} minutes",
        separated_in_s=round(job["seconds"], 1),
        played_after_s=round(played_at - job["finished"], 2),
    )


def take_pictures(browser: Any, studio: Studio, folder: Path) -> None:
    """The example song, and the comparison of two models on it."""
    job_id = separated(studio, "example?model=duetto")
    other_id = separated(studio, f"{job_id}/again?model=drnn")
    for name, colours, address in (
        ("studio", "light", job_id),
        ("studio-compare", "dark", f"{job_id}+{other_id}"),
    ):
        with opened(browser, viewport={"width": 1180, "height": 1000}, color_scheme=colours) as page:
            page.goto(f"{studio.address}/#{address}")
            page.get_by_role("button", name="Play").wait_for()
            while page.locator(".lane.loading").count() or page.locator("#model-choice option").count() == 0:
                page.wait_for_timeout(100)
            page.evaluate("studio.player.seek(4)")
            page.screenshot(path=folder / f"{name}.jpg", quality=85)


def separated(studio: Studio, request: str) -> str:
    """The id of a new job, once it is done."""
    job_id = studio.client.post(f"/api/jobs/{request}").json()["id"]
    while studio.jobs()[job_id]["state"] != "done":
        time.sleep(0.1)
    return str(job_id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--loads", type=int, default=10)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    chosen = parser.parse_args()
    path = os.environ.get("DUETTO_BROWSER") or shutil.which("chromium")
    arguments = ["--no-sandbox", "--disable-audio-output", "--autoplay-policy=no-user-gesture-required"]
    with (
        tempfile.TemporaryDirectory() as folder,
        observed(Path(folder)) as studio,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=path, args=arguments) as browser,
    ):
        if chosen.pictures:
            take_pictures(browser, studio, chosen.pictures)
        else:
            measure_loads(browser, studio.address, chosen.loads)
            measure_song(browser, studio, chosen.minutes)


if __name__ == "__main__":
    main()
