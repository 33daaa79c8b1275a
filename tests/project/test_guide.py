"""The Python lines of the guide run as they stand."""

import asyncio
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import duetto
from duetto.cli.separate import EXAMPLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
(SERVICE,) = (block for block in BLOCKS if "fastapi" in block)


@pytest.mark.slow
def test_the_blocks_run_one_after_the_other(here: Path) -> None:
    (here / "music").mkdir()
    for name in ("song.flac", "music/first.flac"):
        shutil.copy(EXAMPLE, here / name)
    names: dict[str, Any] = {"cancelled": threading.Event()}
    *others, cancelling = (block for block in BLOCKS if block != SERVICE)
    for block in others:
        exec(block, names)
    assert (names["summary"].n_done, names["summary"].n_failed) == (2, 0)
    assert names["vocals"].shape[0] == names["audio"].shape[0]
    exec(cancelling, names)
    names["cancelled"].set()
    with pytest.raises(names["Cancelled"]):
        exec(cancelling.replace("class Cancelled(Exception):\n    pass\n", ""), names)


@pytest.mark.slow
def test_the_service_answers_songs_and_refuses_what_is_none() -> None:
    names: dict[str, Any] = {}
    exec(SERVICE, names)
    song = EXAMPLE.read_bytes()
    first, second, *refused = asyncio.run(
        answers(names["app"], [song, song, b"no audio" * 100, b"", song[:1000]])
    )
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    accompaniment, sample_rate = duetto.load_audio(first.content)
    assert sample_rate == 44100
    np.testing.assert_allclose(accompaniment, duetto.separate(song)["accompaniment"], atol=2**-14)
    assert [answer.status_code for answer in refused] == [422] * 3


async def answers(app: Any, uploads: list[bytes]) -> list[httpx.Response]:
    """What the service answers to uploads that come at the same time."""
    transport = httpx.ASGITransport(app=app)
    headers = {"Content-Type": "audio/flac"}
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=None) as client:
        posts = [client.post("/accompaniment", content=upload, headers=headers) for upload in uploads]
        return await asyncio.gather(*posts)
