"""The HTTP API: what the page uses, and any other client."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from duetto import __version__
from duetto.studio import tasks, views
from duetto.studio.events import all_events, job_events
from duetto.studio.jobs import JobService
from duetto.studio.picture import draw
from duetto.studio.products import Products
from duetto.studio.store import Job
from duetto.studio.uploads import RefusedError

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": views.Problem, "description": description}
    for status, description in {
        401: "A token is missing.",
        403: "Another origin asked.",
        404: "No such job or model.",
        409: "The job has no stems.",
        421: "Unknown host.",
        422: "No audio, or a value out of its range.",
    }.items()
}
_UPLOAD_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": views.Problem, "description": description}
    for status, description in {
        400: "An empty file.",
        408: "The upload stalled.",
        413: "The file is too large.",
        429: "The queue is full.",
        507: "The disk is full.",
    }.items()
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The audio file itself.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An audio file. X-Clipped-Samples counts samples beyond full scale.",
        "content": {kind: {} for kind in ("audio/wav", "audio/flac", "audio/mpeg")},
    },
    206: {"description": "The part of it that the Range header asks for."},
    416: {"description": "A range beyond its end."},
}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"model": views.Picture}}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}
}
_MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}

# What is answered from memory is answered by the event loop; what waits for the disk, by a thread.
api = APIRouter(prefix="/api", responses=PROBLEMS)


async def _service(request: Request) -> JobService:
    service: JobService = request.app.state.service
    return service


async def _products(request: Request) -> Products:
    products: Products = request.app.state.products
    return products


Service = Annotated[JobService, Depends(_service)]
Made = Annotated[Products, Depends(_products)]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Model = Annotated[str | None, Query(description="Key of a model; by default the first.", max_length=1000)]
Name = Annotated[str, Query(description="What the song is called.", max_length=300)]
Decibels = Annotated[float | None, Query(ge=-60, le=12, description="Level in dB; left out: silent.")]
Format = Annotated[views.Format, Query()]


def _announced(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


@api.get("/health")
async def health(service: Service) -> views.Health:
    """Whether the service works, and how much it has to do."""
    states = [job.state for job in service.store.jobs()]
    return views.Health(
        status="ok",
        version=__version__,
        n_queued=states.count("queued"),
        n_running=states.count("running"),
        n_workers=service.settings.n_workers,
    )


@api.get("/limits")
async def limits(service: Service) -> views.Limits:
    """What the service accepts."""
    names = views.Limits.model_fields
    return views.Limits(**{name: getattr(service.settings, name) for name in names})


@api.get("/models")
async def models(service: Service) -> list[views.ModelCard]:
    """The models on offer, the default first."""
    return await service.models()


@api.get("/events", responses=_EVENTS, response_class=StreamingResponse)
async def events(service: Service) -> StreamingResponse:
    """All jobs, and then every change: events "job" (a JobView), "deleted" (an id), "ready"."""
    return _stream(all_events(service))


@api.get("/jobs")
async def list_jobs(service: Service) -> list[views.JobView]:
    """All jobs, the newest first."""
    return service.views()


@api.post("/jobs", status_code=201, openapi_extra=_BODY, responses=_UPLOAD_PROBLEMS)
async def create_job(request: Request, service: Service, name: Name, model: Model = None) -> views.JobView:
    """Upload a song as the body of the request and queue its separation."""
    return await service.add_upload(
        request.stream(), announced=_announced(request), name=_shown(name), model=model
    )


@api.post("/jobs/example", status_code=201, responses=_UPLOAD_PROBLEMS)
async def create_example_job(service: Service, model: Model = None) -> views.JobView:
    """Queue the separation of the song that comes with Duetto."""
    return await service.add_example(model)


@api.get("/jobs/{job_id}")
async def get_job(job_id: JobId, service: Service) -> views.JobView:
    """One job."""
    return service.view(service.job(job_id))


@api.delete("/jobs/{job_id}", status_code=204)
def delete_job(job_id: JobId, service: Service) -> Response:
    """Stop a job and delete its files."""
    service.queue.delete(service.job(job_id).id)
    return Response(status_code=204)


@api.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: JobId, service: Service) -> views.JobView:
    """Stop a job that waits or runs; one that has ended stays as it is."""
    service.queue.cancel(service.job(job_id).id)
    return service.view(service.job(job_id))


@api.post("/jobs/{job_id}/again", status_code=201, responses=_UPLOAD_PROBLEMS)
async def separate_again(job_id: JobId, service: Service, model: Model = None) -> views.JobView:
    """Queue the same song once more, by the same or another model; nothing is uploaded again."""
    return await service.add_again(service.job(job_id), model)


@api.get("/jobs/{job_id}/events", responses=_EVENTS, response_class=StreamingResponse)
async def get_job_events(job_id: JobId, service: Service) -> StreamingResponse:
    """One job whenever it changes, until it has ended: events "job" (a JobView), "deleted" (an id)."""
    service.job(job_id)
    return _stream(job_events(service, job_id))


@api.get("/jobs/{job_id}/stems/{stem}", responses=_AUDIO, response_class=FileResponse)
async def get_stem(
    job_id: JobId,
    stem: views.Stem,
    service: Service,
    made: Made,
    format: Format = "wav",  # noqa: A002
) -> FileResponse:
    """A stem; answers range requests."""
    job = service.job(job_id)
    path = service.stems(job)[stem]
    name = f"{_title(job)} ({stem}, {job.model}).{format}"
    if format == "wav":
        return _audio(path, name, job.n_clipped)
    target = _target(service, job, f"{stem}.{format}")
    product = await made.get(tasks.export, parts=[(path, 1.0)], target=target, suffix=format)
    return _audio(product.path, name, product.n_clipped)


@api.get("/jobs/{job_id}/mix", responses=_AUDIO, response_class=FileResponse)
async def get_mix(
    job_id: JobId,
    service: Service,
    made: Made,
    vocals: Decibels = None,
    accompaniment: Decibels = None,
    format: Format = "wav",  # noqa: A002
) -> FileResponse:
    """Both stems at the levels given, as one file."""
    job = service.job(job_id)
    stems = service.stems(job)
    levels = {"vocals": vocals, "accompaniment": accompaniment}
    parts = [(stems[stem], 10 ** (level / 20)) for stem, level in levels.items() if level is not None]
    if not parts:
        raise RefusedError(422, "name the level of a stem at least, such as accompaniment=0")
    words = " ".join(f"{stem} {level:+.1f} dB" for stem, level in levels.items() if level is not None)
    key = "_".join("off" if level is None else f"{level:.4f}" for level in levels.values())
    target = _target(service, job, f"mix_{key}.{format}")
    product = await made.get(tasks.export, parts=parts, target=target, suffix=format)
    return _audio(product.path, f"{_title(job)} ({words}, {job.model}).{format}", product.n_clipped)


@api.get("/jobs/{job_id}/pictures/{track}", responses=_PICTURE, response_class=FileResponse)
async def get_picture(job_id: JobId, track: views.Track, service: Service, made: Made) -> FileResponse:
    """Waveform and spectrogram of a stem or of the mixture."""
    job = service.job(job_id)
    parts = [(path, 1.0) for stem, path in service.stems(job).items() if track in (stem, "mixture")]
    product = await made.get(draw, parts=parts, target=_target(service, job, f"{track}.json"))
    return _picture(product.path)


@api.get("/jobs/{job_id}/differences/{other_id}/{stem}", responses=_AUDIO, response_class=FileResponse)
async def get_difference(
    job_id: JobId,
    other_id: JobId,
    stem: views.Stem,
    service: Service,
    made: Made,
    format: Format = "wav",  # noqa: A002
) -> FileResponse:
    """The estimate of one job less that of another job of the same song, as sound."""
    job, other, parts = _difference(service, job_id, other_id, stem)
    target = _target(service, job, f"{other.id}_{stem}.{format}")
    product = await made.get(tasks.export, parts=parts, target=target, suffix=format)
    name = f"{_title(job)} ({stem}, {job.model} - {other.model}).{format}"
    return _audio(product.path, name, product.n_clipped)


@api.get(
    "/jobs/{job_id}/differences/{other_id}/{stem}/picture", responses=_PICTURE, response_class=FileResponse
)
async def get_difference_picture(
    job_id: JobId, other_id: JobId, stem: views.Stem, service: Service, made: Made
) -> FileResponse:
    """The same difference as waveform and spectrogram."""
    job, other, parts = _difference(service, job_id, other_id, stem)
    product = await made.get(draw, parts=parts, target=_target(service, job, f"{other.id}_{stem}.json"))
    return _picture(product.path)


@api.put("/jobs/{job_id}/references/{stem}", openapi_extra=_BODY, responses=_UPLOAD_PROBLEMS)
async def put_reference(job_id: JobId, stem: views.Stem, request: Request, service: Service) -> views.JobView:
    """Upload the reference of a stem; once both are there the stems are scored by BSS Eval."""
    return await service.add_reference(
        service.job(job_id), stem, request.stream(), announced=_announced(request)
    )


def _difference(
    service: JobService, job_id: str, other_id: str, stem: str
) -> tuple[Job, Job, list[tuple[Any, float]]]:
    job, other = service.job(job_id), service.job(other_id)
    if job.sha256 != other.sha256:
        raise RefusedError(422, "the jobs are of different songs; choose two of the same song")
    return job, other, [(service.stems(job)[stem], 1.0), (service.stems(other)[stem], -1.0)]


def _target(service: JobService, job: Job, name: str) -> Any:
    return service.store.folder(job.id) / "products" / name


def _audio(path: Any, name: str, n_clipped: int) -> FileResponse:
    headers = {"x-clipped-samples": str(n_clipped), "cache-control": "private, no-cache"}
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return FileResponse(path, filename=name, media_type=media_type, headers=headers)


def _picture(path: Any) -> FileResponse:
    return FileResponse(path, media_type="application/json", headers={"cache-control": "private, no-cache"})


def _stream(lines: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})


def _shown(name: str) -> str:
    """A name in one line of printable characters; it is shown, and offered as the name of downloads."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "song"


def _title(job: Job) -> str:
    """The name without an extension of audio files, and without what file systems do not allow."""
    stem, dot, suffix = job.name.rpartition(".")
    title = stem if dot and len(suffix) <= 4 and stem else job.name
    return "".join("_" if c in '/\\:*?"<>|' else c for c in title)
