"""/v1/batches: many videos from one file, worked off behind everything that somebody waits for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NoReturn, cast
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api import bodies, idempotency, paging
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.openapi import FAILURES
from api.paging import After, Limit, Named, Page
from api.parameters.refusals import missing, one_of, unknown, wrong_type
from api.parameters.structures import METADATA_KEY_LIMIT, METADATA_KEYS, METADATA_VALUE_LIMIT, metadata
from domain import ids
from domain.batches import ENDPOINT, LEAST_OUTPUT_SECONDS, MOST_OPEN, MOST_OUTPUT_SECONDS, WINDOW, Status
from domain.errors import Conflict, InvalidRequest, NotFound, RateLimited
from storage import batches, files
from storage.batches import NewBatch
from storage.database import Connection

BATCH = "/batches/{batch_id}"
FULL_SECONDS = 60.0  # after which a tenant with too many batches may ask again
_INTEGER = re.compile(r"\d{1,10}", re.ASCII)

router = APIRouter(prefix="/v1", tags=["batches"], responses=FAILURES)


class BatchFault(BaseModel):
    """What is wrong with a line of the input file; `line` is null where it is the file as a whole."""

    code: str
    message: str
    line: int | None
    param: str | None


class BatchErrors(BaseModel):
    """Why a batch failed."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class BatchRequestCounts(BaseModel):
    """Lines; those that are over by how they ended."""

    total: int
    completed: int
    failed: int


class Batch(Named):
    """OpenAI's Batch object."""

    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Status
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchRequestCounts
    metadata: dict[str, str] | None


class BatchList(Page[Batch]):
    """A page of batches; `last_id` is the next page's `after`."""


_TAKEN: dict[str, Any] = {
    "input_file_id": {"type": "string", "description": "A file of purpose `batch`: one JSON object a line."},
    "endpoint": {"type": "string", "enum": [ENDPOINT]},
    "completion_window": {"type": "string", "enum": [WINDOW]},
    "metadata": {
        "type": "object",
        "maxProperties": METADATA_KEYS,
        "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LIMIT},
        "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_LIMIT},
    },
    "output_expires_after": {
        "type": "object",
        "description": "When the output and error files go; after 30 days by default.",
        "properties": {
            "anchor": {"type": "string", "enum": ["created_at"]},
            "seconds": {"type": "integer", "minimum": LEAST_OUTPUT_SECONDS, "maximum": MOST_OUTPUT_SECONDS},
        },
        "required": ["anchor", "seconds"],
        "additionalProperties": False,
    },
}
_REQUIRED = ("input_file_id", "endpoint", "completion_window")
_SCHEMA = {
    "schema": {"type": "object", "properties": _TAKEN, "required": list(_REQUIRED), "additionalProperties": False}
}
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": _SCHEMA, "multipart/form-data": _SCHEMA}}
}


@router.post("/batches", openapi_extra=_BODY)
def create_batch(retry: Retrying, served: Served, caller: Authenticated, body: Received, response: Response) -> Batch:
    """Take a file of requests. It is checked and worked off in the background, within a day."""
    values = bodies.read(body)
    attempt = idempotency.attempt(retry, caller, values)
    made = attempt.recall(served)
    with served.database.transaction(caller.tenant_id) as connection:
        if made is None:
            new = _new(connection, caller.tenant_id, caller.key_id, values)
            made = attempt.once(connection, lambda: _store(connection, caller.tenant_id, new))
        found = batches.find(connection, caller.tenant_id, ids.parse(ids.Kind.BATCH, made.resource))
    served.batch_wanted.set()
    made.tell(response)
    return _shown(found or _not_found(made.resource))


@router.get("/batches")
def list_batches(
    served: Served,
    caller: Authenticated,
    after: After = None,
    limit: Limit = 20,
) -> BatchList:
    """A page of the caller's batches, newest first."""
    cursor = paging.named(ids.Kind.BATCH, after)
    with served.database.transaction(caller.tenant_id) as connection:
        page = batches.page(connection, caller.tenant_id, after=cursor, limit=limit)
    return BatchList.of([_shown(batch) for batch in page.batches], more=page.has_more)


@router.get(BATCH)
def retrieve_batch(served: Served, caller: Authenticated, batch_id: str) -> Batch:
    """One batch."""
    with served.database.transaction(caller.tenant_id) as connection:
        batch = _find(connection, caller.tenant_id, batch_id)
        served.retrievals.note(connection, caller.tenant_id, batch_id, batch.created_at)
    return _shown(batch)


@router.post(BATCH + "/cancel")
def cancel_batch(served: Served, caller: Authenticated, batch_id: str) -> Batch:
    """Make no more videos of the batch and stop those that live; what is done is still written out.

    One that is over, or that is being written out, is a Conflict.
    """
    with served.database.transaction(caller.tenant_id) as connection:
        batch = _find(connection, caller.tenant_id, batch_id)
        if batches.cancel(connection, caller.tenant_id, batch.id):
            batch = _find(connection, caller.tenant_id, batch_id)
        elif batch.status not in {Status.CANCELLING, Status.CANCELLED}:
            raise Conflict(f"Cannot cancel a batch with status '{batch.status}'.", code="batch_finished")
    served.batch_wanted.set()
    return _shown(batch)


def _new(connection: Connection, tenant_id: UUID, key_id: UUID, values: Mapping[str, Any]) -> NewBatch:
    """The batch that is asked for. Raises InvalidRequest, and NotFound if there is no such file."""
    for name in values.keys() - _TAKEN.keys():
        unknown(name)
    for name in _REQUIRED:
        if name not in values:
            missing(name)
        if not isinstance(values[name], str):
            wrong_type(name, "a string", values[name])
    one_of("endpoint", values["endpoint"], [ENDPOINT])
    one_of("completion_window", values["completion_window"], [WINDOW])
    return NewBatch(
        key_id=key_id,
        input_file_id=_input_file(connection, tenant_id, values["input_file_id"]),
        endpoint=ENDPOINT,
        metadata=metadata("metadata", values["metadata"]) if "metadata" in values else None,
        output_expires_seconds=_output_seconds(values.get("output_expires_after")),
    )


def _input_file(connection: Connection, tenant_id: UUID, public_id: str) -> UUID:
    try:
        file = files.find(connection, tenant_id, ids.parse(ids.Kind.FILE, public_id))
    except ids.InvalidId:
        file = None
    if file is None:
        raise NotFound(f"No such File object: {public_id[:64]}", param="input_file_id", code="file_not_found")
    if file.purpose != "batch":
        raise InvalidRequest(
            f"The file has the purpose '{file.purpose}'; a batch needs one of the purpose 'batch'.",
            param="input_file_id",
        )
    return file.id


def _output_seconds(value: Any) -> int:
    param = "output_expires_after"
    if value is None:
        return MOST_OUTPUT_SECONDS
    if not isinstance(value, dict):
        wrong_type(param, "an object", value)
    given = cast("dict[str, Any]", value)
    for name in given.keys() - {"anchor", "seconds"}:
        unknown(f"{param}.{name}")
    seconds = given.get("seconds")
    if isinstance(seconds, str) and _INTEGER.fullmatch(seconds):  # a form knows text only
        seconds = int(seconds)
    if given.get("anchor") != "created_at" or type(seconds) is not int:
        raise InvalidRequest(f"'{param}' takes the anchor 'created_at' and a number of seconds.", param=param)
    if not LEAST_OUTPUT_SECONDS <= seconds <= MOST_OUTPUT_SECONDS:
        raise InvalidRequest(
            f"'{param}.seconds' must be from {LEAST_OUTPUT_SECONDS} to {MOST_OUTPUT_SECONDS}.", param=param
        )
    return seconds


def _store(connection: Connection, tenant_id: UUID, new: NewBatch) -> str:
    if batches.open_after_lock(connection, tenant_id) >= MOST_OPEN:
        raise RateLimited(f"At most {MOST_OPEN} batches may be open at once. Wait for one to end.", FULL_SECONDS)
    return ids.public(ids.Kind.BATCH, batches.create(connection, tenant_id, new).id)


def _find(connection: Connection, tenant_id: UUID, public_id: str) -> batches.Batch:
    try:
        batch = batches.find(connection, tenant_id, ids.parse(ids.Kind.BATCH, public_id))
    except ids.InvalidId:
        batch = None
    return batch or _not_found(public_id)


def _not_found(public_id: str) -> NoReturn:
    raise NotFound(f"No batch found with id '{public_id[:64]}'.", param="batch_id", code="batch_not_found")


def _shown(batch: batches.Batch) -> Batch:
    return Batch(
        id=ids.public(ids.Kind.BATCH, batch.id),
        endpoint=batch.endpoint,
        errors=None if batch.errors is None else BatchErrors(data=[BatchFault(**each) for each in batch.errors]),
        input_file_id=ids.public(ids.Kind.FILE, batch.input_file_id),
        completion_window=batch.completion_window,
        status=batch.status,
        output_file_id=_file_id(batch.output_file_id),
        error_file_id=_file_id(batch.error_file_id),
        created_at=int(batch.created_at.timestamp()),
        in_progress_at=_unix(batch.in_progress_at),
        expires_at=int(batch.expires_at.timestamp()),
        finalizing_at=_unix(batch.finalizing_at),
        completed_at=_unix(batch.completed_at),
        failed_at=_unix(batch.failed_at),
        expired_at=_unix(batch.expired_at),
        cancelling_at=_unix(batch.cancelling_at),
        cancelled_at=_unix(batch.cancelled_at),
        request_counts=BatchRequestCounts(total=batch.total, completed=batch.completed, failed=batch.failed),
        metadata=batch.metadata,
    )


def _file_id(value: UUID | None) -> str | None:
    return None if value is None else ids.public(ids.Kind.FILE, value)


def _unix(value: datetime | None) -> int | None:
    return None if value is None else int(value.timestamp())
