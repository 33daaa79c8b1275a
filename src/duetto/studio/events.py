"""Server-sent events: what changes about jobs, as it changes."""

import asyncio
import json
from collections.abc import AsyncIterator

from duetto.studio.jobs import JobService
from duetto.studio.store import UNFINISHED
from duetto.studio.uploads import RefusedError
from duetto.studio.views import JobView

_INTERVAL_SECONDS = 0.2
_HEARTBEAT_SECONDS = 15.0


async def all_events(service: JobService) -> AsyncIterator[str]:
    """All jobs as they are, then each that changes; ends with the connection or the studio.

    Events are "job", whose data is a `JobView`, "deleted" with its id, and "ready" after the first jobs.
    """
    sent: dict[str, JobView] = {}
    async for revision in _revisions(service):
        if revision is None:
            yield ": still here\n\n"
            continue
        views = {view.id: view for view in service.views()}
        for job_id, view in reversed(views.items()):
            if sent.get(job_id) != view:
                yield event("job", view.model_dump_json())
        for job_id in sent.keys() - views.keys():
            yield event("deleted", json.dumps({"id": job_id}))
        if not sent:
            yield event("ready", "{}")
        sent = views


async def job_events(service: JobService, job_id: str) -> AsyncIterator[str]:
    """One job whenever it changes, until it has ended or is deleted."""
    sent = None
    async for revision in _revisions(service):
        if revision is None:
            yield ": still here\n\n"
            continue
        try:
            view = service.view(service.job(job_id))
        except RefusedError:
            yield event("deleted", json.dumps({"id": job_id}))
            return
        if view != sent:
            sent = view
            yield event("job", view.model_dump_json())
        if view.state not in UNFINISHED:
            return


async def _revisions(service: JobService) -> AsyncIterator[int | None]:
    """The revision of the jobs when it is new, None when it has long been the same, until the studio ends."""
    known, waited = -1, 0.0
    while not service.is_ending:
        revision = service.queue.revision
        if revision != known:
            known, waited = revision, 0.0
            yield revision
        elif waited >= _HEARTBEAT_SECONDS:
            waited = 0.0
            yield None
        await asyncio.sleep(_INTERVAL_SECONDS)
        waited += _INTERVAL_SECONDS


def event(kind: str, data: str) -> str:
    """One event in the form of the event stream."""
    return f"event: {kind}\ndata: {data}\n\n"
