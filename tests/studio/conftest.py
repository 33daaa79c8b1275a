from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from helpers.pages import launched, opened
from helpers.studios import StudioClient, running, separated, settings, song


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[StudioClient]:
    with running(settings(folder / "data")) as client:
        yield client


@pytest.fixture(scope="module")
def song_path(folder: Path) -> Path:
    return song(folder / "song.wav")


@pytest.fixture(scope="module")
def done(client: StudioClient, song_path: Path) -> dict:
    """A job that is done."""
    return separated(client, song_path)


@pytest.fixture(scope="module")
def longer(client: StudioClient, folder: Path) -> dict:
    """A job of 30 s that is done: several chunks of the player."""
    return separated(client, song(folder / "thirty.wav", 30, seed=5))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, client: StudioClient) -> Iterator[Any]:
    """An empty page, whose addresses begin with the studio's."""
    with opened(browser, client, viewport={"width": 1200, "height": 900}) as page:
        yield page
