"""Lines of a batch, each written under the lease of its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from domain.batches import KEEP_SECONDS, LINE_ERRORS, LineState
from domain.lifecycle import TERMINAL, State
from storage.batch_runs import BatchLease
from storage.tables import batch_lines, batches, videos


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line that has no video yet."""

    number: int
    request_id: UUID
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line. `error` is None for one whose video is all there is to say."""

    number: int
    custom_id: str
    request_id: UUID
    video_id: UUID | None
    error: dict[str, Any] | None


def waiting(connection: Connection, lease: BatchLease, limit: int) -> Sequence[Waiting]:
    """The next lines to create, in the order of the file."""
    query = sa.select(batch_lines.c.line, batch_lines.c.request_id, batch_lines.c.body)
    some = query.where(*_mine(lease, LineState.WAITING)).order_by(batch_lines.c.line).limit(limit)
    return [Waiting(row.line, row.request_id, row.body) for row in connection.execute(some)]


def counts(connection: Connection, lease: BatchLease) -> Mapping[LineState, int]:
    """Lines by state."""
    query = sa.select(batch_lines.c.state, sa.func.count()).where(*_mine(lease)).group_by(batch_lines.c.state)
    found = {LineState(state): number for state, number in connection.execute(query)}
    return {state: found.get(state, 0) for state in LineState}


def take(connection: Connection, lease: BatchLease, number: int, video_id: UUID) -> bool:
    """The line becomes this video, whose row follows in the same transaction. False if it became one already."""
    return _update(connection, lease, number, state=LineState.CREATED, video_id=video_id, body=sa.null())


def refuse(connection: Connection, lease: BatchLease, number: int, error: Mapping[str, Any]) -> bool:
    """The line will never be a video."""
    return _update(connection, lease, number, state=LineState.FAILED, body=sa.null(), error=dict(error))


def refuse_rest(connection: Connection, lease: BatchLease, code: str) -> None:
    """No line that waits will be a video any more."""
    rest = sa.update(batch_lines).where(*_mine(lease, LineState.WAITING))
    connection.execute(rest.values(state=LineState.FAILED, body=sa.null(), error=_error(code)))


def give_up(connection: Connection, lease: BatchLease, video_id: UUID, code: str) -> None:
    """The line's video was stopped for the sake of its batch."""
    line = sa.update(batch_lines).where(*_mine(lease, LineState.CREATED), batch_lines.c.video_id == video_id)
    connection.execute(line.values(state=LineState.FAILED, error=_error(code)))


def abandon(connection: Connection, lease: BatchLease, code: str) -> None:
    """Call every line failed that is not over, whatever becomes of its video."""
    rest = sa.update(batch_lines).where(*_mine(lease, LineState.WAITING, LineState.CREATED))
    connection.execute(rest.values(state=LineState.FAILED, body=sa.null(), error=_error(code)))


def living(connection: Connection, lease: BatchLease) -> Sequence[UUID]:
    """Videos of lines that are not over yet; a batch has few of them at once."""
    query = sa.select(batch_lines.c.video_id).where(*_mine(lease, LineState.CREATED)).order_by(batch_lines.c.line)
    return [video_id for video_id in connection.scalars(query) if video_id is not None]


def collect(connection: Connection, lease: BatchLease, window_end: datetime) -> None:
    """Note which videos have ended, and keep their results until a day after the window, at least."""
    ended = sa.and_(videos.c.id == batch_lines.c.video_id, videos.c.state.in_(sorted(TERMINAL)))
    after = sa.case((videos.c.state == State.COMPLETED, LineState.COMPLETED), else_=LineState.FAILED)
    noted = sa.update(batch_lines).where(*_mine(lease, LineState.CREATED), ended).values(state=after)
    done = connection.scalars(noted.returning(batch_lines.c.video_id)).all()
    kept = sa.func.greatest(videos.c.expires_at, window_end + timedelta(seconds=KEEP_SECONDS))
    connection.execute(
        sa.update(videos)
        .where(videos.c.tenant_id == lease.tenant_id, videos.c.id.in_(done), videos.c.expires_at.is_not(None))
        .values(expires_at=kept)
    )


def count(connection: Connection, lease: BatchLease) -> Mapping[LineState, int]:
    """Count the lines and write down for the owner how many are over."""
    found = counts(connection, lease)
    totals = {"completed": found[LineState.COMPLETED], "failed": found[LineState.FAILED]}
    connection.execute(
        sa.update(batches)
        .where(batches.c.tenant_id == lease.tenant_id, batches.c.id == lease.batch_id)
        .where(batches.c.fence == lease.fence)
        .values(totals)
    )
    return found


def results(connection: Connection, lease: BatchLease, after: int, limit: int) -> Sequence[Result]:
    """Lines that follow number `after`, in the order of the file."""
    columns = (batch_lines.c.line, batch_lines.c.custom_id, batch_lines.c.request_id)
    query = sa.select(*columns, batch_lines.c.video_id, batch_lines.c.error).where(*_mine(lease))
    rows = connection.execute(query.where(batch_lines.c.line > after).order_by(batch_lines.c.line).limit(limit))
    return [Result(*row) for row in rows]


def _update(connection: Connection, lease: BatchLease, number: int, **values: Any) -> bool:
    line = sa.update(batch_lines).where(*_mine(lease, LineState.WAITING), batch_lines.c.line == number)
    return connection.execute(line.values(values)).rowcount == 1


def _error(code: str) -> dict[str, str]:
    return {"code": code, "message": LINE_ERRORS[code]}


def _mine(lease: BatchLease, *states: LineState) -> tuple[sa.ColumnElement[bool], ...]:
    mine = (batch_lines.c.tenant_id == lease.tenant_id, batch_lines.c.batch_id == lease.batch_id)
    return (*mine, batch_lines.c.state.in_(states)) if states else mine
