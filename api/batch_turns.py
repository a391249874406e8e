"""One turn of work on a batch: read its file, make some of its videos, or write what came of them.

Turns are short, and all they learn is in the database, so that another process can take the next one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from api import batch_files, batch_input, errors, videos
from api.batch_input import Refused
from api.batch_worker import Lost, Worker
from api.errors import InvalidApiKey
from api.services import Services
from api.submission import Errand, submit
from domain.batches import PRIORITY, Fault, Line, LineState, Status
from domain.errors import Failure, Forbidden, NotFound, QuotaExceeded, RateLimited, Unavailable
from domain.keys import Scope
from domain.lifecycle import ACTIVE
from runtime import logs
from storage import batch_lines, batch_runs, keys
from storage import videos as stored
from storage.batch_lines import Waiting
from storage.batch_runs import Turn
from storage.database import Connection
from storage.hints import DELIVER
from storage.keys import Caller
from storage.outages import OUTAGES, is_away

log = logging.getLogger(__name__)

LINES_A_TURN = 20
TURN_SECONDS = 10.0  # after which no further line is begun
MARGIN_SECONDS = 600  # beyond the window, so that it is the batch that ends its videos
_OVER = Refused((Fault("batch_expired", "The input file could not be read before the completion window expired."),))
_GIVEN_UP = (Fault("internal_error", "The batch could not be begun, for a failure on our side."),)
_BROKEN = (Fault("internal_error", "The batch could not go on: one try after the other failed, on our side."),)
QUOTA_SECONDS = 10.0  # between two tries of a line that the tenant's limits hold up


def take(served: Services, turn: Turn) -> float:
    """Do what the batch needs next. Returns the seconds until somebody should look at it again. Raises Lost."""
    worker = Worker(served, turn)
    match turn.batch.status:
        case Status.VALIDATING:
            return _begin(worker)
        case Status.IN_PROGRESS:
            return _go_on(worker)
        case _:
            return _finish(worker)


def _begin(worker: Worker) -> float:
    """Read the file, and store its lines or what is wrong with them."""
    found = _OVER if worker.turn.over else _lines(worker)
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        if isinstance(found, Refused):
            if batch_runs.refuse(connection, worker.lease, found.faults):
                batch_files.announce(connection, worker.batch, Status.FAILED)
                worker.served.ringer.want(DELIVER)
        else:
            batch_runs.accept(connection, worker.lease, found)
    return 0.0


def give_up(served: Services, turn: Turn, *, simply: bool = False) -> None:
    """End a batch that fails again and again, through no fault of its file that we know of. Raises Lost, Unavailable.

    What is complete is given back, unless it is that which fails, or has ended processes: then `simply`.
    """
    worker = Worker(served, turn)
    if turn.batch.status is Status.VALIDATING:
        _fail(worker, _GIVEN_UP)
        return
    if simply:
        _fail(worker, _BROKEN)
        return
    try:
        _stop(worker, "batch_failed")
        batch_files.write(worker, Status.FAILED, _BROKEN)
    except (Lost, Unavailable):
        raise
    except Exception as error:  # files that cannot be written must not keep the batch from its end
        if isinstance(error, OUTAGES) and is_away(error):
            raise
        log.exception("a batch ends without files")
        _fail(worker, _BROKEN)


def _fail(worker: Worker, faults: Sequence[Fault]) -> None:
    """End the batch in the simplest way; a video that still lives is its owner's, no longer the batch's."""
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        worker.keep(connection)
        batch_lines.abandon(connection, worker.lease, "batch_failed")
        batch_lines.count(connection, worker.lease)
        if not batch_runs.refuse(connection, worker.lease, faults, worker.batch.status):
            raise Lost
        batch_files.announce(connection, worker.batch, Status.FAILED)
    worker.served.ringer.want(DELIVER)


def _lines(worker: Worker) -> tuple[Line, ...] | Refused:
    try:
        content = batch_files.read(worker.served, worker.batch)
    except NotFound:
        return Refused((Fault("file_not_found", "The input file was deleted before it was read."),))
    return batch_input.read(content, worker.served.settings.batch_lines)


def _go_on(worker: Worker) -> float:
    """Note which videos have ended, and make as many new ones as may wait at once."""
    found = _count(worker)
    if found[LineState.WAITING] + found[LineState.CREATED] == 0:
        _close(worker)
        return 0.0
    if worker.turn.over:
        _expire(worker)
        return 0.0
    room = worker.served.settings.batch_videos - found[LineState.CREATED]
    if room <= 0 or not found[LineState.WAITING]:
        return worker.served.settings.batch_poll_seconds
    made_all = _create(worker, min(room, LINES_A_TURN))
    return 0.0 if made_all else max(QUOTA_SECONDS, worker.served.settings.batch_poll_seconds)


def _count(worker: Worker) -> Mapping[LineState, int]:
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        worker.keep(connection)
        batch_lines.collect(connection, worker.lease, worker.batch.expires_at)
        return batch_lines.count(connection, worker.lease)


def _close(worker: Worker) -> None:
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        batch_runs.move(connection, worker.lease, Status.IN_PROGRESS, Status.FINALIZING)


def _expire(worker: Worker) -> None:
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        batch_runs.expire(connection, worker.lease)


def _create(worker: Worker, most: int) -> bool:
    """The next lines as videos, as many as there is time for. False: the tenant's limits or an outage hold them up."""
    batch = worker.batch
    with worker.served.database.transaction(batch.tenant_id) as connection:
        lines = batch_lines.waiting(connection, worker.lease, most)
        caller = None if batch.key_id is None else keys.caller(connection, batch.tenant_id, batch.key_id)
    until = time.monotonic() + TURN_SECONDS
    for line in lines:
        if time.monotonic() > until:
            break
        with logs.bound(request_id=f"req_{line.request_id.hex}", batch_id=f"batch_{batch.id.hex}"):
            if caller is None:
                _refuse(worker, line, InvalidApiKey("The API key of this batch was revoked."))
            elif not caller.may(Scope.VIDEOS_WRITE):
                _refuse(worker, line, Forbidden(f"The API key of this batch misses the scope {Scope.VIDEOS_WRITE}."))
            elif not _submit(worker, caller, line):
                return False
    return True


def _submit(worker: Worker, caller: Caller, line: Waiting) -> bool:
    rest = worker.batch.expires_at - datetime.now(UTC)  # behind all others, it may wait as long as its batch
    errand = Errand(PRIORITY, math.ceil(rest.total_seconds()) + MARGIN_SECONDS, partial(_note, worker, line))
    try:
        submit(worker.served, caller, line.body, errand=errand)
    except (QuotaExceeded, RateLimited, Unavailable) as delay:
        log.info("a line of a batch waits", extra={"line": line.number, "code": delay.code})
        return False
    except Failure as refusal:
        _refuse(worker, line, refusal)
    except (Lost, *OUTAGES):
        raise
    except Exception:  # one line is refused as one request would be, with 500; the batch goes on
        log.exception("unexpected failure of a line", extra={"line": line.number})
        _refuse(worker, line, None)
    return True


def _note(worker: Worker, line: Waiting, connection: Connection, video_id: UUID) -> None:
    """The line becomes the video, in the transaction that makes it: so it never becomes two, and none is left out."""
    worker.keep(connection)
    if not batch_lines.take(connection, worker.lease, line.number, video_id):
        raise Lost


def _refuse(worker: Worker, line: Waiting, refusal: Failure | None) -> None:
    """Keep the answer that the line would have got as a request; None: the failure is ours."""
    answer = errors.unexpected() if refusal is None else errors.answer(refusal)
    error = {"status_code": answer.status_code, "body": json.loads(bytes(answer.body))}
    with worker.served.database.transaction(worker.lease.tenant_id) as connection:
        worker.keep(connection)
        batch_lines.refuse(connection, worker.lease, line.number, error)


def _finish(worker: Worker) -> float:
    """Stop what is left, if there is any, then write the files and end."""
    batch = worker.batch
    if batch.status is Status.CANCELLING:
        ending = Status.CANCELLED
    else:
        ending = Status.COMPLETED if batch.expired_at is None else Status.EXPIRED
    if ending is not Status.COMPLETED:
        _stop(worker, f"batch_{ending}")
    batch_files.write(worker, ending)
    return 0.0


def _stop(worker: Worker, code: str) -> None:
    """No line becomes a video any more, and videos that live are cancelled; what is complete stays."""
    served, lease = worker.served, worker.lease
    with served.database.transaction(lease.tenant_id) as connection:
        worker.keep(connection)
        batch_lines.refuse_rest(connection, lease, code)
        living = batch_lines.living(connection, lease)
    for video_id in living:
        with served.database.transaction(lease.tenant_id) as connection:
            worker.keep(connection)
            video = stored.find(connection, lease.tenant_id, video_id, lock=True)
            if video is not None and video.state in ACTIVE:
                videos.cancel(connection, video, announce=True)
                batch_lines.give_up(connection, lease, video_id, code)
    _count(worker)
