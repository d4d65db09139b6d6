"""Errors of the API as problem details (RFC 9457): one shape, one sentence, the right status."""

import http
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sensors import InputError, WorkError

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, **more: Any) -> JSONResponse:
    """Return a problem document."""
    body = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make an application answer every error of a request with a problem document."""

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in error.errors()]
        return problem(422, "; ".join(faults), errors=faults)

    @app.exception_handler(InputError)
    async def of_input(_: Request, error: InputError) -> JSONResponse:
        return problem(422, "; ".join(error.faults), errors=list(error.faults))

    @app.exception_handler(WorkError)
    async def of_work(_: Request, error: WorkError) -> JSONResponse:
        return problem(503, str(error))


def stamp(time_s: float | None) -> str | None:
    """Return a time as RFC 3339 UTC with milliseconds, None for an unknown one.

    Examples
    --------
    >>> stamp(0.0)
    '1970-01-01T00:00:00.000Z'
    """
    if time_s is None or not math.isfinite(time_s):
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(text: str | None, *, name: str) -> float | None:
    """Return the time of an RFC 3339 text.

    Raises
    ------
    InputError
        When it is not one or has no zone.
    """
    if text is None:
        return None
    try:
        # A plus sign that was not escaped in a URL arrives as a blank.
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InputError(f"{name} is {text!r}, must be a time with zone such as 2026-01-31T08:00:00Z")
    return time.timestamp()


def number(value: float, digits: int = 3) -> float | None:
    """Return a rounded number for JSON, None for NaN and infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


def numbers(values: Any, factor: float = 1.0, digits: int = 3) -> list[float | None]:
    """Return a column for JSON, scaled and rounded."""
    return [number(value * factor, digits) for value in values]


Json = Mapping[str, Any]
