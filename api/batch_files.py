"""Files of a batch: the input is read from the object store, what came of it is written there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from api.batch_output import Output, sort
from api.batch_worker import Lost, Worker
from api.services import Services
from domain import ids
from domain.batches import Fault, Status
from domain.errors import NotFound
from domain.webhooks import EventType
from storage import announcements, batch_lines, batch_runs, files, videos
from storage.batches import Batch
from storage.database import Connection
from storage.files import NewFile
from storage.hints import DELIVER

PAGE_LINES = 200
_UNBOUNDED = None  # what a batch gives back is never refused for want of room


def read(served: Services, batch: Batch) -> bytes:
    """The input file. Raises NotFound if it was deleted, Unavailable."""
    with served.database.transaction(batch.tenant_id) as connection:
        file = files.find(connection, batch.tenant_id, batch.input_file_id)
    if file is None:
        raise NotFound("The input file was deleted.")
    with served.gate.entered():
        return served.objects.read(file.object_key)


def write(worker: Worker, ending: Status, faults: Sequence[Fault] = ()) -> None:
    """Write what came of every line, and end the batch. Raises Lost, Unavailable; then nothing has happened."""
    with TemporaryDirectory(dir=worker.served.settings.work_dir or None) as folder:
        done, rest = Output(Path(folder) / "output.jsonl"), Output(Path(folder) / "error.jsonl")
        _fill(worker, done, rest)
        output, error = _put(worker, done), _put(worker, rest)
        with worker.served.database.transaction(worker.lease.tenant_id) as connection:
            worker.keep(connection)
            _remember(connection, worker, (output, done), (error, rest))
            values: dict[str, Any] = {
                "output_file_id": None if output is None else output.id,
                "error_file_id": None if error is None else error.id,
                "completed": done.lines,
                "failed": rest.lines,
            }
            if faults:
                values["errors"] = batch_runs.listed(faults)
            if not batch_runs.move(connection, worker.lease, worker.batch.status, ending, **values):
                raise Lost
            announce(connection, worker.batch, ending)
    worker.served.ringer.want(DELIVER)


def announce(connection: Connection, batch: Batch, status: Status) -> None:
    """Tell whoever wants it that the batch is over, in the transaction in which that becomes true."""
    event_type = EventType(f"batch.{status}")
    announcements.announce(connection, batch.tenant_id, event_type, ids.public(ids.Kind.BATCH, batch.id))


def _fill(worker: Worker, done: Output, rest: Output) -> None:
    """Page by page, the lease prolonged with each."""
    after = 0
    while True:
        with worker.served.database.transaction(worker.lease.tenant_id) as connection:
            worker.keep(connection)
            results = batch_lines.results(connection, worker.lease, after, PAGE_LINES)
            wanted = [result.video_id for result in results if result.video_id is not None]
            found = videos.several(connection, worker.lease.tenant_id, wanted)
        for output, entries in zip((done, rest), sort(results, found), strict=True):
            output.append(entries)
        if len(results) < PAGE_LINES:
            return
        after = results[-1].number


def _put(worker: Worker, output: Output) -> NewFile | None:
    """The file in the store, its key written down before; None for an empty one."""
    if not output.lines:
        return None
    batch = worker.batch
    new = NewFile(
        purpose="batch_output",
        filename=f"{ids.public(ids.Kind.BATCH, batch.id)}_{output.path.name}",
        content_type="application/jsonl",
        lives_seconds=batch.output_expires_seconds,
    )
    key = files.key(batch.tenant_id, new)
    with worker.served.gate.entered():
        with worker.served.database.transaction(batch.tenant_id) as connection:
            files.register(connection, batch.tenant_id, key, output.bytes, _UNBOUNDED)
        worker.served.objects.put(key, output.path, new.content_type)
    return new


def _remember(connection: Connection, worker: Worker, *written: tuple[NewFile | None, Output]) -> None:
    for new, output in written:
        if new is not None:
            files.create(connection, worker.lease.tenant_id, new, output.bytes, _UNBOUNDED)
