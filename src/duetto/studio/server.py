"""The application: page and API behind the guard, and the server that runs it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from duetto import __version__
from duetto.errors import ConfigError, DuettoError
from duetto.studio.api import api
from duetto.studio.configuration import StudioSettings
from duetto.studio.guard import Guard
from duetto.studio.jobs import JobService
from duetto.studio.products import Products
from duetto.studio.uploads import RefusedError
from duetto.studio.workers import WorkerError

_PAGE = Path(__file__).with_name("static")
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_app(settings: StudioSettings) -> FastAPI:
    """The ASGI application of a studio; its workers run while it does.

    Raises:
        ConfigError: another studio uses the data folder.
    """
    service = JobService(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.models()), asyncio.create_task(_expire(service))]
        if settings.models:
            await tasks[0]  # a file that is no model shall end the start, not the first upload
        yield
        tasks[1].cancel()
        service.close()

    app = FastAPI(
        title="Duetto studio",
        version=__version__,
        summary="Separates songs into vocals and accompaniment.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.products = Products(service.short_tasks)
    app.include_router(api)
    app.router.routes.append(Route("/{name:path}", _page_file))
    app.add_exception_handler(DuettoError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, settings=settings)
    return app


async def _expire(service: JobService) -> None:
    """Delete jobs that have become too old, every hour."""
    while True:
        await asyncio.sleep(3600)
        await asyncio.to_thread(service.queue.expire)


async def _page_file(request: Request) -> Response:
    """A file of the page, from memory: there are many, and the page is shown when all are there."""
    name = request.path_params["name"] or "index.html"
    if name not in _page():
        raise HTTPException(404)
    media_type = _MEDIA_TYPES[Path(name).suffix]
    # asked for at every visit, so that an upgrade shows
    return Response(_page()[name], media_type=media_type, headers={"cache-control": "no-cache"})


@cache
def _page() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in _PAGE.iterdir()}


async def _failed(request: Request, error: Exception) -> JSONResponse:
    status = (
        error.status if isinstance(error, RefusedError) else 503 if isinstance(error, WorkerError) else 422
    )
    return JSONResponse({"detail": str(error)}, status)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(details)}, 422)


def make_server(settings: StudioSettings) -> uvicorn.Server:
    """A server of a studio, to be run on a listening socket; the address is that socket's.

    Raises:
        ConfigError: another studio uses the data folder.
    """
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,  # for uploads and downloads that are under way
        limit_concurrency=512,
    )
    return _Server(config, app.state.service)


class _Server(uvicorn.Server):
    """A server whose requests end when it stops: those that wait for a worker, and event streams."""

    def __init__(self, config: uvicorn.Config, service: JobService) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._service.stop)
        await super().shutdown(sockets)


def serve(settings: StudioSettings, *, on_ready: Callable[[str], None]) -> None:
    """Run a studio until it is interrupted.

    Args:
        settings: address, limits and folder.
        on_ready: called with the address of the page once connections are accepted.

    Raises:
        ConfigError: the address is in use, or another studio uses the data folder.
    """
    with listen(settings) as listener:
        server = make_server(settings)
        on_ready(_address(settings, listener.getsockname()[1]))
        server.run(sockets=[listener])


def listen(settings: StudioSettings) -> socket.socket:
    """A socket that accepts connections at the address of a studio.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another "
            "--port, or stop what uses it"
        ) from error


def _address(settings: StudioSettings, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{port}/" + (f"?token={settings.token}" if settings.token else "")
