"""Which failures an operation may answer, spelled out in /openapi.json: "any" would document nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

ANY = "default"  # what routers declare, in the place of all the statuses below
REASONS = {
    400: "A parameter or the body is wrong; `param` says which",
    401: "No key, or not a valid one",
    403: "The key may not do this",
    404: "There is no such thing, or it is another tenant's",
    408: "The body did not arrive in time",
    409: "It contradicts what is already there",
    413: "The body is too large",
    415: "The body has an encoding that is not read here",
    416: "The range lies outside of the file",
    429: "Too many requests, or the quota is exhausted",
    500: "The server had an error",
    503: "A server that this needs does not answer",
}
_WITH_KEY = (401, 403, 429)
_WITH_BODY = (400, 404, 408, 413, 415)
_CHANGING = frozenset({"post", "put", "patch", "delete"})


class Documented(FastAPI):
    """An application whose document names every status."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = spelled_out(super().openapi())
        return self.openapi_schema


def spelled_out(document: dict[str, Any]) -> dict[str, Any]:
    """The document with each "any failure" replaced by the failures of that operation."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            failure = responses.pop(ANY, None)
            if failure is not None:
                for status in sorted(set(_of(path, method, operation)) - {int(known) for known in responses}):
                    responses[str(status)] = {**failure, "description": REASONS[status]}
    return document


def _of(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    if operation.get("security"):
        yield from _WITH_KEY
    if "requestBody" in operation:
        yield from _WITH_BODY
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        yield 400
    if "{" in path:
        yield 404
    if "206" in operation["responses"]:
        yield 416
    if method in _CHANGING:
        yield 409
    yield from (500, 503)
