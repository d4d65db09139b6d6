"""For those who run the hub: is it alive, is it ready, how much went through."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from hub.app import App


def router(app: App) -> APIRouter:
    """Return the routes ``/healthz``, ``/readyz`` and ``/metrics``."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz")
    def alive() -> dict[str, str]:
        """Answer as long as the process serves."""
        return {"status": "ok"}

    @routes.get("/readyz")
    def ready() -> Response:
        """Return 200 when every part works, else 503; the body names the parts either way."""
        parts: dict[str, Any] = app.health()
        good = all(part["ok"] for part in parts.values())
        return JSONResponse({"ready": good, "parts": parts}, status_code=200 if good else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Return counters in Prometheus text format."""
        return app.metrics()

    return routes
