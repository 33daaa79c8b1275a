from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

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
