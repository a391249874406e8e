"""The HTTP application and its server."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from api import (
    batches,
    characters,
    content,
    deliveries,
    derivations,
    errors,
    feedback,
    files,
    health,
    models,
    moderations,
    progress,
    provenance,
    usage,
    videos,
    webhook_default,
    webhooks,
)
from api.admin import router as administration
from api.batch_runner import BatchRunner
from api.metrics import Metrics
from api.services import Services
from api.slow import PatientProtocol
from api.statuses import Documented
from api.tracking import Tracking
from runtime import logs
from runtime.settings import Settings
from storage.database import POOL_SIZE

GRACE_SECONDS = 10  # for requests in hand when the process must stop
HEADER_BYTES = 32 * 1024
IDLE_SECONDS = 75


def create_app(settings: Settings) -> FastAPI:
    """Everything that one API process serves."""
    metrics = Metrics()
    app = Documented(
        title="Kinema",
        description="Text to video, in the words of the OpenAI Videos API.",
        lifespan=partial(_lifespan, settings=settings, metrics=metrics),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a path with one more slash is no path of ours: the JSON 404
    )
    app.add_middleware(Tracking, metrics=metrics)
    errors.install(app)
    app.include_router(administration.router)
    for resource in (
        characters,
        content,
        derivations,
        videos,
        progress,
        feedback,
        usage,
        webhook_default,
        webhooks,
        deliveries,
        models,
        moderations,
        files,
        batches,
        provenance,
        health,
    ):
        app.include_router(resource.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings, metrics: Metrics) -> AsyncGenerator[None]:
    current_default_thread_limiter().total_tokens = POOL_SIZE
    services = app.state.services = Services.open(settings, metrics)
    runner = BatchRunner(services)
    yield
    runner.stop()
    services.close()


class _Server(uvicorn.Server):
    """Ends the progress streams first: they would last until the grace is over."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As it is, but without waiting for what has no end."""
        services: Services = self._app.state.services
        services.streams.close()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand get ten seconds to finish."""
    logs.configure(settings.log_level)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=PatientProtocol,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
        server_header=False,
        access_log=False,  # `api.tracking` writes one line for every answer
        log_config=None,
    )
    server = _Server(config, app)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit("the server did not start")
