"""Around every request: an id, a line in the log, a count, and the answer to what nobody planned."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from api.metrics import Metrics
from domain import ids
from runtime import logs

log = logging.getLogger(__name__)

_SANE = re.compile(r"[\w.:/-]{1,128}", re.ASCII)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Tracking:
    """ASGI middleware; the outermost of ours."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Track HTTP; let everything else pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        answer = _Answer(send, ids.public(ids.Kind.REQUEST, ids.new_id()), state)
        state["request_id"] = answer.request_id
        with logs.bound(**_context(answer.request_id, Headers(scope=scope))):
            started = time.perf_counter()
            try:
                await self._app(scope, receive, answer.send)
            except ClientDisconnect:
                answer.status = 499
            except Exception:  # what nobody planned is a 500, and the process goes on
                log.exception("unexpected failure")
                if answer.status:
                    raise  # half an answer is out: break the connection, so that the client notices
                await errors.unexpected()(scope, receive, answer.send)
            finally:
                self._record(scope, answer.status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(method, route, status, seconds)
        details: dict[str, Any] = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        log.info("answered", extra=details)


class _Answer:
    """Notes the status on its way out, adds the request's id, and what `api.limits` left in the request's state."""

    def __init__(self, send: Send, request_id: str, state: Mapping[str, Any]) -> None:
        self.request_id = request_id
        self._state = state
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            headers.update(self._state.get("headers", {}))
        await self._send(message)


def _context(request_id: str, headers: Headers) -> dict[str, str]:
    theirs = headers.get("x-client-request-id", "")
    return {"request_id": request_id} | ({"client_request_id": theirs} if _SANE.fullmatch(theirs) else {})
