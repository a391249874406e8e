"""Every failure as OpenAI writes it: ``{"error": {"message", "type", "param", "code"}}``, all four keys always."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from domain.errors import (
    Conflict,
    Failure,
    Forbidden,
    InFlight,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Unavailable,
)
from storage.outages import OUTAGES

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "2"
PATIENT_SECONDS = 120  # the SDKs wait no longer


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class InvalidApiKey(Failure):
    """The key is missing, unknown, expired or revoked."""

    code = "invalid_api_key"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    type: str
    headers: Mapping[str, str]


# The SDKs send 409, 429 and 5xx again unless told otherwise.
_NEVER_AGAIN = {"x-should-retry": "false"}
_LATER = {"retry-after": RETRY_AFTER_SECONDS}
_ANSWERS: dict[type[Failure], _Answer] = {
    InvalidRequest: _Answer(400, "invalid_request_error", {}),
    InvalidApiKey: _Answer(401, "invalid_request_error", {"www-authenticate": "Bearer"}),
    Forbidden: _Answer(403, "permission_error", {}),
    NotFound: _Answer(404, "invalid_request_error", {}),
    Conflict: _Answer(409, "invalid_request_error", _NEVER_AGAIN),
    InFlight: _Answer(409, "invalid_request_error", {"retry-after": "1"}),
    QuotaExceeded: _Answer(429, "insufficient_quota", {}),
    RateLimited: _Answer(429, "requests", {}),
    Unavailable: _Answer(503, "server_error", _LATER),
}
_OURS = _Answer(500, "server_error", {})


def install(app: FastAPI) -> None:
    """Answer every failure in one shape; `api.tracking` answers what nobody planned."""
    app.add_exception_handler(Failure, _failure)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _outage)


def body(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One error as an answer."""
    detail = ErrorDetail(message=message, type=kind, param=param, code=code)
    return JSONResponse(ErrorBody(error=detail).model_dump(), status, headers=headers)


def unexpected() -> JSONResponse:
    """What a client learns of a failure that is ours: nothing but that."""
    return body(500, "The server had an error while processing your request. Sorry about that!", kind="server_error")


def answer(failure: Failure) -> JSONResponse:
    """A refusal as its answer."""
    shape = next((_ANSWERS[kind] for kind in type(failure).__mro__ if kind in _ANSWERS), _OURS)
    return body(
        shape.status,
        failure.message,
        kind=shape.type,
        param=failure.param,
        code=failure.code,
        headers={**shape.headers, **_waiting(failure)},
    )


def _waiting(failure: Failure) -> Mapping[str, str]:
    """When the same request may succeed, and not to try if that is too far away."""
    match failure:
        case RateLimited(retry_after_seconds=seconds):
            return _retry_after(seconds)
        case QuotaExceeded(clears_at=datetime() as clears_at):
            seconds = max(0.0, (clears_at - datetime.now(UTC)).total_seconds())
            return {**_retry_after(seconds), **(_NEVER_AGAIN if seconds > PATIENT_SECONDS else {})}
        case QuotaExceeded():
            return _NEVER_AGAIN
        case _:
            return {}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


async def _failure(_request: Request, error: Exception) -> JSONResponse:
    return answer(cast("Failure", error))


async def _http(request: Request, error: Exception) -> JSONResponse:
    refused = cast("HTTPException", error)
    message = str(refused.detail)
    if refused.status_code == 404:
        message = f"Invalid URL ({request.method} {request.url.path})"
    if refused.status_code == 405:
        message = f"Not allowed to {request.method} on {request.url.path}."
    return body(refused.status_code, message, headers=refused.headers)


async def _validation(_request: Request, error: Exception) -> JSONResponse:
    first: Mapping[str, Any] = cast("RequestValidationError", error).errors()[0]
    param = str(first["loc"][-1])
    return body(400, f"Invalid value for '{param}': {first['msg']}.", param=param, code="invalid_value")


async def _outage(_request: Request, error: Exception) -> JSONResponse:
    log.warning("the database does not answer", extra={"error": type(error).__name__})
    return await _failure(_request, Unavailable("The service is temporarily unavailable. Please try again shortly."))
