"""An uploaded file on its way to the disk, within its limits."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

from duetto.errors import DuettoError

_BLOCK_BYTES = 2**20  # hashed and written at a time, by a thread, since a busy disk makes it wait
_SPARE_BYTES = 10**9  # of the disk, never to be filled


class RefusedError(DuettoError):
    """A request that cannot be served.

    Args:
        status: HTTP status that says so.
        message: for the user.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_space(folder: Path, n_bytes: int) -> None:
    """Refuse to write so much where the disk would be filled.

    Raises:
        RefusedError: 507.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes + _SPARE_BYTES:
        raise RefusedError(
            507, f"the disk has {free / 1e9:.1f} GB left, too little for this song; delete some songs first"
        )


async def receive(
    chunks: AsyncIterator[bytes],
    target: Path,
    *,
    announced: int | None,
    max_bytes: int,
    timeout_seconds: float,
) -> str:
    """Write a request's body to a file.

    Args:
        chunks: the body.
        target: the file, in a folder that exists; after an error there is none.
        announced: its length in bytes, where the client said.
        max_bytes: more are refused.
        timeout_seconds: longest wait for the next chunk.

    Returns:
        SHA-256 of the body, in hexadecimal.

    Raises:
        RefusedError: 400 without a byte, 408 when the client stalls, 413 beyond the limit, 507 if the disk
            is full.
    """
    too_large = RefusedError(
        413, f"the file is larger than {max_bytes / 2**20:g} MiB, the limit of this studio"
    )
    if announced is not None and announced > max_bytes:
        raise too_large
    check_space(target.parent, announced or max_bytes)
    digest, n_bytes, source, waiting = hashlib.sha256(), 0, aiter(chunks), bytearray()
    with ExitStack() as after_failure:
        after_failure.callback(target.unlink, missing_ok=True)
        with target.open("xb") as file:

            def write(block: bytearray) -> None:
                digest.update(block)
                file.write(block)

            while (chunk := await _next(source, timeout_seconds)) is not None:
                n_bytes += len(chunk)
                if n_bytes > max_bytes:
                    raise too_large
                waiting += chunk
                if len(waiting) >= _BLOCK_BYTES:
                    await asyncio.to_thread(write, waiting)
                    waiting = bytearray()
            write(waiting)
        if n_bytes == 0:
            raise RefusedError(400, "the file is empty (0 bytes); choose a file with audio in it")
        after_failure.pop_all()
    return digest.hexdigest()


async def _next(source: AsyncIterator[bytes], timeout_seconds: float) -> bytes | None:
    try:
        return await asyncio.wait_for(anext(source), timeout_seconds)
    except StopAsyncIteration:
        return None
    except TimeoutError as error:
        raise RefusedError(408, f"the upload stalled for {timeout_seconds:g} s; try again") from error
