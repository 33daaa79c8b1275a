"""The studio's page in a real browser, and what it plays, rendered without waiting for a sound card."""

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.studios import TIMEOUT_SECONDS, StudioClient

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def launched() -> Iterator[Any]:
    """A browser; the test is skipped where there is none, or no Playwright to drive it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    path = os.environ.get("DUETTO_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}, or its path in DUETTO_BROWSER")
    with playwright.sync_playwright() as driver:
        # A sandbox of the browser's own is refused to root in a container; the pages are ours.
        browser = driver.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-audio-output",
                "--autoplay-policy=no-user-gesture-required",
                "--disable-gpu-watchdog",  # it kills the process that draws when a busy machine is slow
            ],
            timeout=1000 * TIMEOUT_SECONDS,
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, client: StudioClient, **options: Any) -> Iterator[Any]:
    """An empty page whose addresses begin with the studio's; errors of its scripts fail the test."""
    context = browser.new_context(base_url=client.address, **options)
    context.set_default_timeout(1000 * TIMEOUT_SECONDS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
    try:
        yield page
    finally:
        context.close()
    assert errors == []


def open_song(page: Any, job: dict[str, Any]) -> None:
    """Open a song that is done, and wait until it can be played."""
    page.goto(f"/#{job['id']}")
    page.get_by_role("button", name="Play").wait_for()


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the policy of the page forbids what Playwright has for it."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"in vain: {condition}"
        time.sleep(0.03)


class OfflineSound:
    """What a page plays, rendered in steps: audio time advances when a test says so, and never by itself.

    The page plays into an OfflineAudioContext in place of an AudioContext. It stands still while the test
    clicks, and goes on once the player has scheduled what comes next, however slow the machine is.

    Args:
        page: an empty page; what it opens afterwards is rendered.
    """

    def __init__(self, page: Any) -> None:
        self._page = page
        page.add_init_script(path=Path(__file__).with_name("offline_sound.js"))

    def advance(self, seconds: float) -> float:
        """Render so much of what plays, to the next multiple of 128 samples.

        Returns:
            The position in the song at which it stands, in seconds.
        """
        self._page.evaluate("(seconds) => offlineSound.advance(seconds)", seconds)
        return self.position

    @property
    def position(self) -> float:
        """Where the player stands in the song, in seconds."""
        return float(self._page.evaluate("studio.player.position"))

    @property
    def time(self) -> float:
        """The clock of the sound, in seconds since the first play."""
        return float(self._page.evaluate("offlineSound.currentTime"))

    def end(self) -> NDArray[np.float32]:
        """Stop.

        Returns:
            All that was played (n_files + 1, n_samples): the left channel of each file behind its gain, and
            of the sum of all, as it is heard.
        """
        encoded = self._page.evaluate("offlineSound.end()")
        return np.stack([np.frombuffer(base64.b64decode(each), "<f4") for each in encoded])
