"""Limits of a studio that need no running one: of its settings, and of what it receives."""

import asyncio
import hashlib

import pytest

from duetto.errors import ConfigError
from duetto.studio.configuration import StudioSettings
from duetto.studio.uploads import RefusedError, receive

LIMITS = {"announced": None, "max_bytes": 2**20, "timeout_seconds": 0.01}


def test_an_upload_is_written_and_its_hash_is_told(tmp_path):
    async def content():
        for _ in range(3):
            yield b"abc" * 100_000

    digest = asyncio.run(receive(content(), tmp_path / "song", **LIMITS))
    assert (tmp_path / "song").read_bytes() == b"abc" * 300_000
    assert digest == hashlib.sha256(b"abc" * 300_000).hexdigest()


def test_an_upload_that_stalls_is_refused(tmp_path):
    async def content():
        yield b"the beginning"
        await asyncio.Event().wait()

    with pytest.raises(RefusedError, match="stalled") as refusal:
        asyncio.run(receive(content(), tmp_path / "song", **LIMITS))
    assert refusal.value.status == 408
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "0.0.0.0"},
        {"token": "short"},
        {"token": "x\r\nset-cookie: y=12345"},
        {"max_jobs": 0},
        {"models": ("a/x.onnx", "b/x.onnx")},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, changes):
    with pytest.raises(ConfigError):
        StudioSettings(data=tmp_path, **changes)
