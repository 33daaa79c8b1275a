"""What is made of stems when a client asks for it: other formats, balances, differences and pictures."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duetto.studio.combination import Parts
from duetto.studio.workers import WorkerPool

_LIMIT_SECONDS = 900.0


@dataclass(frozen=True)
class Product:
    """A file that was made.

    Attributes:
        path: where it lies.
        n_clipped: samples that had to be clipped, for audio.
    """

    path: Path
    n_clipped: int


class Products:
    """Makes each product once and keeps the latest ones.

    Args:
        workers: do the work.
        n_kept: so many are kept; the one that was made first goes first.
    """

    def __init__(self, workers: WorkerPool, n_kept: int = 32) -> None:
        self._workers = workers
        self._n_kept = n_kept
        self._made: dict[Path, asyncio.Task[Product]] = {}

    async def get(
        self, make: Callable[..., int | None], *, parts: Parts, target: Path, **arguments: Any
    ) -> Product:
        """Make a product, or find it.

        Args:
            make: a task of a worker; it writes `target` and returns the number of samples clipped.
            parts: the files that it is made of.
            target: its file, whose name tells apart what is made of the same parts.
            arguments: further arguments of `make`.

        Raises:
            AudioError: the stems cannot be read or the format cannot hold them.
        """
        known = self._made.get(target)
        if known is None or (
            known.done() and (known.cancelled() or known.exception() or not target.exists())
        ):
            self._made.pop(target, None)
            known = asyncio.create_task(self._make(make, parts, target, arguments))
            known.add_done_callback(_notice)
            self._made[target] = known
            self._drop_oldest()
        return await asyncio.shield(known)

    async def _make(
        self, make: Callable[..., int | None], parts: Parts, target: Path, arguments: dict[str, Any]
    ) -> Product:
        ticket = self._workers.submit(
            make, limit_seconds=_LIMIT_SECONDS, parts=parts, target=target, **arguments
        )
        return Product(target, await asyncio.wrap_future(ticket.future) or 0)

    def _drop_oldest(self) -> None:
        finished = [path for path, task in self._made.items() if task.done()]
        for path in finished[: max(0, len(self._made) - self._n_kept)]:
            del self._made[path]
            path.unlink(missing_ok=True)


def _notice(task: "asyncio.Task[Product]") -> None:
    """Look at how a task ended: a client that went away does not, and asyncio complains of unseen errors."""
    if not task.cancelled():
        task.exception()
