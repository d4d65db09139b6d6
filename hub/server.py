"""The web server: the API below ``/api/v1``, operations at the root, the cockpit for everything else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import RequestResponseEndpoint
from starlette.routing import Match, Mount
from starlette.types import Scope

from hub.api import alerts, assets, history, live, network, operations, places, problem, state, whatif
from hub.app import App
from hub.docs_page import docs_page
from hub.origin import host_allowed, origin_allowed

STATIC = Path(__file__).parent / "static"
# The map's worker and its pictures come from the page itself; nothing is ever fetched from elsewhere.
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; style-src 'self';"
    " connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'self'"
)
_MISSING = """<!doctype html><meta charset="utf-8"><title>citytwin</title>
<p>The cockpit is not built: run <code>make setup</code>. The API is at <a href="docs">/docs</a>."""


class _Cockpit(Mount):
    """The cockpit's files, for whatever address nothing else answers.

    A plain mount takes every request before the routes that know the address but not the method, and so answers a GET
    of what can only be posted with 404, and a POST to what does not exist with 405.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            return Match.NONE, {}
        if match is Match.FULL and scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return Match.PARTIAL, found
        return match, found


def create_api(app: App) -> FastAPI:
    """Return the web application of a hub."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        app.fan.bind(asyncio.get_running_loop())
        app.on_serving()
        yield

    try:
        release = version("citytwin")
    except PackageNotFoundError:  # run from a folder that nobody installed
        release = "0"
    # The usual pages at /docs fetch scripts from elsewhere; ours works offline.
    api = FastAPI(title="citytwin", version=release, lifespan=lifespan, docs_url=None, redoc_url=None)
    problem.install(api)
    api.add_middleware(GZipMiddleware, minimum_size=2000)
    _secure(api)
    for part in (network, assets, state, places, history, alerts, whatif, live):
        api.include_router(part.router(app), prefix="/api/v1")
    api.include_router(operations.router(app))

    @api.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        own = {"Content-Security-Policy": CONTENT_POLICY.replace("style-src 'self'", "style-src 'unsafe-inline'")}
        return HTMLResponse(docs_page(api.openapi()), headers=own)

    if (STATIC / "index.html").exists():
        api.router.routes.append(_Cockpit("/", StaticFiles(directory=STATIC, html=True), name="cockpit"))
    else:

        @api.get("/", include_in_schema=False)
        def missing() -> HTMLResponse:
            return HTMLResponse(_MISSING, status_code=503)

    return api


def _secure(api: FastAPI) -> None:
    """Refuse what a page of another site could make a browser send, and say how pages may be embedded: not at all."""

    @api.middleware("http")
    async def guard(request: Request, proceed: RequestResponseEndpoint) -> Response:
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if not host_allowed(host):
            return problem.problem(421, f"host {host!r} is not this hub's address")
        if request.method not in ("GET", "HEAD", "OPTIONS") and not origin_allowed(origin, host):
            return problem.problem(403, "pages of other sites may not change anything here")
        response = await proceed(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def create_server(app: App) -> uvicorn.Server:
    """Return the server that serves a hub; signals are handled by whoever runs it."""
    config = uvicorn.Config(create_api(app), log_config=None, lifespan="on", ws="auto", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    # The caller stops the server by its own handlers, before and after it serves as well.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    return server
