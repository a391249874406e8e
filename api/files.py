"""/v1/files: pictures and clips to refer to, and the lines of batches."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api import bodies, file_values, idempotency, inputs, paging
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.openapi import FAILURES
from api.paging import After, Named, Page
from api.services import Services
from domain import ids
from storage import files
from storage.files import File
from storage.keys import Caller

FILE = "/files/{file_id}"
MOST_LISTED = 1_000
PURPOSES = ("vision", "batch", "batch_output")
_CONTENT: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for kind in files.SUFFIXES}}}

router = APIRouter(prefix="/v1", tags=["files"], responses=FAILURES)


class FileObject(Named):
    """OpenAI's File object. `bytes` counts what is kept: pictures and clips are made anew."""

    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Literal["vision", "batch", "batch_output"]
    status: Literal["processed"] = "processed"


class FileList(Page[FileObject]):
    """A page of files; the last one's id is the next page's `after`."""


class DeletedFile(BaseModel):
    """The answer to a DELETE."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


@router.post("/files", openapi_extra=file_values.BODY)
def create_file(
    retry: Retrying, served: Served, caller: Authenticated, received: Received, response: Response
) -> FileObject:
    """Keep a file: a picture or clip (purpose vision), or the lines of a batch (purpose batch)."""
    values = bodies.read(received)
    attempt = idempotency.attempt(retry, caller, values)
    made = attempt.recall(served)
    if made is None:
        new, content = file_values.prepared(served, caller, values)
        quota = served.settings.files_quota_bytes
        key = files.key(caller.tenant_id, new)
        put(served, caller, key, content, new.content_type)
        with served.database.transaction(caller.tenant_id) as connection:

            def make() -> str:
                files.create(connection, caller.tenant_id, new, len(content), quota)
                return ids.public(ids.Kind.FILE, new.id)

            made = attempt.once(connection, make)
    made.tell(response)
    return _shown(inputs.find_file(served, caller, "file_id", made.resource))


@router.get("/files")
def list_files(
    *,
    served: Served,
    caller: Authenticated,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> FileList:
    """A page of the caller's files by creation."""
    cursor = paging.named(ids.Kind.FILE, after)
    if purpose not in {None, *PURPOSES}:
        return FileList.of([], more=False)
    with served.database.transaction(caller.tenant_id) as connection:
        page, more = files.page(connection, caller.tenant_id, after=cursor, limit=limit, order=order, purpose=purpose)
    return FileList.of([_shown(file) for file in page], more=more)


@router.get(FILE)
def retrieve_file(served: Served, caller: Authenticated, file_id: str) -> FileObject:
    """One file."""
    file = inputs.find_file(served, caller, "file_id", file_id)
    with served.database.transaction(caller.tenant_id) as connection:
        served.retrievals.note(connection, caller.tenant_id, file_id, file.created_at)
    return _shown(file)


@router.delete(FILE)
def delete_file(served: Served, caller: Authenticated, file_id: str) -> DeletedFile:
    """Forget a file. Videos that were made from it keep their own copies."""
    file = inputs.find_file(served, caller, "file_id", file_id)
    with served.database.transaction(caller.tenant_id) as connection:
        files.remove(connection, caller.tenant_id, file.id)
    return DeletedFile(id=file_id)


@router.get(FILE + "/content", response_class=Response, responses=_CONTENT)
async def download_file(served: Served, caller: Authenticated, file_id: str) -> Response:
    """The file as it is kept."""
    file = await run_sync(inputs.find_file, served, caller, "file_id", file_id)
    headers = {
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="{file_id}.{files.SUFFIXES[file.content_type]}"',
        "content-length": str(file.bytes),
        "x-content-type-options": "nosniff",
    }
    body = await served.gate.begun(partial(files.content, served.objects, file))
    return StreamingResponse(body, 200, headers, file.content_type)


def put(served: Services, caller: Caller, key: str, content: bytes, content_type: str) -> None:
    """Write the key down, then put the bytes. Raises QuotaExceeded, Unavailable."""
    with served.gate.entered():
        with served.database.transaction(caller.tenant_id) as connection:
            files.register(connection, caller.tenant_id, key, len(content), served.settings.files_quota_bytes)
        served.objects.put(key, content, content_type)


def _shown(file: File) -> FileObject:
    return FileObject(
        id=ids.public(ids.Kind.FILE, file.id),
        bytes=file.bytes,
        created_at=int(file.created_at.timestamp()),
        expires_at=None if file.expires_at is None else int(file.expires_at.timestamp()),
        filename=file.filename,
        purpose=file.purpose,
    )
