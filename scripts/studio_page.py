"""Measures the studio's page in a browser: first paint, bytes transferred, and when a song can be heard.

    python scripts/studio_page.py [--minutes 4] [--loads 10]

Needs Chromium and Playwright. Each load has an empty cache.
"""

import argparse
import os
import shutil
import signal
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from studio_load import Studio, report, song

PAINTS = """
() => Object.fromEntries(performance.getEntriesByType("paint").map(({ name, startTime }) => [name, startTime]))
"""
BYTES = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/api/"))
  .map(({ transferSize }) => transferSize)
"""
PLAY_AT_ONCE = """
setInterval(() => {
  const player = window.studio?.player;
  if (player && !player.isPlaying) player.play();
  if (player?.position > 0) window.heard ??= Date.now() / 1000;
}, 10);
"""


def measure_loads(browser: Any, address: str, n_loads: int) -> None:
    """First paint and transferred bytes of the empty page."""
    paints, sizes = [], []
    for _ in range(n_loads):
        page = browser.new_page()
        page.goto(address)
        page.locator("#model-choice option").first.wait_for(state="attached")
        paints.append(page.evaluate(PAINTS)["first-contentful-paint"])
        sizes = page.evaluate(BYTES)
        page.close()
    report(
        "page",
        first_paint_ms=f"{min(paints):.0f} to {max(paints):.0f}, median {statistics.median(paints):.0f}",
        files=len(sizes),
        transferred_kB=round(sum(sizes) / 1000, 1),
    )


def measure_song(browser: Any, studio: Studio, minutes: float) -> None:
    """Seconds from the end of a separation to its first sound in a page that waits for it."""
    page = browser.new_page()
    page.add_init_script(PLAY_AT_ONCE)
    answer = studio.client.post("/api/jobs", params={"name": "song.flac"}, content=song(60 * minutes))
    job_id = answer.json()["id"]
    page.goto(f"{studio.address}/#{job_id}")
    while (heard := page.evaluate("window.heard")) is None:
        page.wait_for_timeout(50)
    job = studio.client.get(f"/api/jobs/{job_id}").json()
    report(
        f"song of {minutes:g} minutes",
        separated_in_s=round(job["seconds"], 1),
        heard_after_s=round(heard - job["finished"], 2),
    )
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--loads", type=int, default=10)
    chosen = parser.parse_args()
    path = os.environ.get("DUETTO_BROWSER") or shutil.which("chromium")
    arguments = ["--no-sandbox", "--disable-audio-output", "--autoplay-policy=no-user-gesture-required"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        studio = Studio(Path(folder))
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        measure_loads(browser, studio.address, chosen.loads)
        measure_song(browser, studio, chosen.minutes)
        browser.close()
        studio.end(signal.SIGTERM)


if __name__ == "__main__":
    main()
