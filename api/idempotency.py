"""Retry safety of every POST that creates something: the same request, sent again, finds what it made.

A client may name its request (`Idempotency-Key`), or just count its retries as OpenAI's clients do. An endpoint asks
for `Retrying` first of all, so that the time of arrival is right, and then calls two methods::

    def create_thing(retry: Retrying, served: Served, caller: Authenticated, body: Received, response: Response):
        values = bodies.read(body)
        attempt = idempotency.attempt(retry, caller, values)
        made = attempt.recall(served)          # before anything is decoded, uploaded or refused
        if made is None:
            ...                                # check, decode, upload
            with served.database.transaction(caller.tenant_id) as connection:
                made = attempt.once(connection, lambda: store(connection, ...))  # its first statements
        made.tell(response)
        return find(made.resource)             # as it is now; what the loser of a race uploaded is swept

`store` returns the public id of what it made. The GET of one thing calls `served.retrievals.note`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Request, Response

from api.multipart import Upload
from api.services import Services
from domain.errors import Conflict, InFlight, InvalidRequest
from storage import idempotency
from storage.database import Connection
from storage.idempotency import Counted, Named
from storage.keys import Caller

REPLAYED = "idempotent-replayed"
KEY_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Retry:
    """How a request says that it may be a repetition. `count` is None for a client that does not count."""

    route: str
    key: str | None
    count: int | None
    arrived: float  # on the monotonic clock


async def retrying(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=KEY_LIMIT,
            pattern=r"^[\x20-\x7e]+$",
            description="A name for this request: repeated within 24 hours, it answers what the first one made.",
        ),
    ] = None,
    x_stainless_retry_count: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Retry:
    """The request's own word on it, and when it came."""
    return Retry(request.url.path, idempotency_key, _count(x_stainless_retry_count), time.monotonic())


Retrying = Annotated[Retry, Depends(retrying)]


@dataclass(frozen=True, slots=True)
class Made:
    """A resource by its public id, and whether an earlier request made it."""

    resource: str
    replayed: bool

    def tell(self, response: Response) -> None:
        """Mark the answer of a replay."""
        if self.replayed:
            response.headers[REPLAYED] = "true"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to create something, with what tells it from others."""

    caller: Caller
    retry: Retry
    fingerprint: bytes

    def recall(self, served: Services) -> Made | None:
        """What an earlier try made, looked up at once; None for nearly every request, and for a first one for free.

        Raises Conflict if the key was used for another request.
        """
        if self.retry.key is None and not self.retry.count:
            return None
        with served.database.transaction(self.caller.tenant_id) as connection:
            if self.retry.key is not None:
                return self._of_key(connection, self.retry.key)
            return self._of_count(connection)

    def once(self, connection: Connection, make: Callable[[], str], *, resource: str | None = None) -> Made:
        """Make it, unless an earlier try did, within the transaction that makes it and before its other statements.

        Who knows before what `make` will return says so with `resource`: a counted request is remembered as it begins.
        Raises InFlight while another request with the same key makes it, Conflict if the key means another request.
        """
        made = self._begin(connection, resource)
        if made is not None:
            return made
        name = make()
        if resource is None or self.retry.key is not None:
            self._remember(connection, name)
        return Made(name, replayed=False)

    def _begin(self, connection: Connection, resource: str | None) -> Made | None:
        if self.retry.key is None:
            return self._of_count(connection, resource)
        if not idempotency.lock_key(connection, self.caller.tenant_id, self.retry.key):
            raise InFlight("A request with this Idempotency-Key is still in progress. Please try again shortly.")
        return self._of_key(connection, self.retry.key)

    def _remember(self, connection: Connection, resource: str) -> None:
        tenant_id, counted = self.caller.tenant_id, self._counted()
        if self.retry.key is not None:
            idempotency.remember_key(connection, tenant_id, self.retry.key, Named(self.fingerprint, resource))
        elif counted is not None:
            idempotency.remember(connection, tenant_id, counted, resource)

    def _of_key(self, connection: Connection, key: str) -> Made | None:
        named = idempotency.find_key(connection, self.caller.tenant_id, key)
        if named is None:
            return None
        if named.fingerprint != self.fingerprint:
            raise Conflict(
                "This Idempotency-Key was used for a request with other parameters.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return Made(named.resource, replayed=True)

    def _of_count(self, connection: Connection, new: str | None = None) -> Made | None:
        counted = self._counted()
        if counted is None:
            return None
        idempotency.lock_alike(connection, self.caller.tenant_id, counted)
        resource = idempotency.adopt(connection, self.caller.tenant_id, counted, new)
        return None if resource is None else Made(resource, replayed=True)

    def _counted(self) -> Counted | None:
        if self.retry.count is None:
            return None
        age = timedelta(seconds=time.monotonic() - self.retry.arrived)
        return Counted(self.caller.key_id, self.fingerprint, self.retry.count, age)


def attempt(retry: Retry, caller: Caller, values: dict[str, Any]) -> Attempt:
    """The request as an attempt that can be told from others. Raises InvalidRequest."""
    return Attempt(caller, retry, fingerprint(retry.route, values))


def fingerprint(route: str, values: dict[str, Any]) -> bytes:
    """SHA-256 of what is asked for: the same in all encodings, whatever the order. Raises InvalidRequest."""
    try:
        text = json.dumps([route, _canonical(values)], sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise InvalidRequest("The parameters of your request are nested too deeply.") from None
    return hashlib.sha256(text.encode()).digest()


def _canonical(value: Any) -> Any:
    """Numbers and booleans as a form writes them; files by their digest. Tags keep the kinds of nesting apart."""
    if isinstance(value, Upload):
        return ["file", hashlib.sha256(value.content).hexdigest()]
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: _canonical(entry) for name, entry in entries.items()}
    if isinstance(value, list):
        return ["list", *(_canonical(item) for item in cast("list[Any]", value))]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if value is None or isinstance(value, str) else str(value)


def _count(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len(str(idempotency.MOST_COUNT)):
        return None
    return min(int(text), idempotency.MOST_COUNT)
