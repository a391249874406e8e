"""Claim, run, settle: the same for every stage."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Any

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import RUNS, STAGE_OF_WAITING, TERMINAL, Stage, State
from engines.protocol import Interrupted
from runtime.logs import bound
from storage import leases, schedule, videos
from storage.database import Connection
from storage.hints import DELIVER
from storage.lifecycle import Move, move
from storage.outages import OUTAGES
from storage.schedule import Lease
from worker.lease import Pulse
from worker.outcome import Done, Failed, Lost, Outcome, Refused, Released, Retry, Undone
from worker.patience import AWAY, OutOfPatience
from worker.pipeline.tail import Parts, Tail, through
from worker.presence import Presence
from worker.process import Process

log = logging.getLogger(__name__)

AWAY_SECONDS = 5.0  # before a video that met a server's absence is tried again
REST_SECONDS = 0.1  # between two looks of a drained worker whether it may go on
LOOK_SECONDS = 0.25  # between two looks for more work while a tail is all that is left
LOOP_SECONDS = 600  # then the hint is used up and the next one takes over


def work_off(process: Process, presence: Presence, queue: str) -> None:
    """Claim and run until nothing is claimable, the worker drains, or ten minutes are over.

    A worker of several queues serves them in turn, `queue` first: a backlog in one must not keep the others waiting.
    What is left of a video when its last frame is drawn goes on beside the next one, and ends before this returns.
    """
    turns = sorted(process.worker.queues, key=lambda each: each != queue)
    over_at = time.monotonic() + LOOP_SECONDS
    with Tail() as tail:
        while time.monotonic() < over_at:
            _rest(process, turns, over_at)
            if process.draining.is_set():
                break
            lease = _next(process, turns, tail)
            if lease is not None:
                _work_on(process, presence, lease, tail)
            elif not tail.wait(LOOK_SECONDS):
                return
        _pass_on(process, turns)


def _next(process: Process, turns: list[str], tail: Tail) -> Lease | None:
    """What to do now, if anything.

    Nothing while a tail goes on with a video that it lost: if it hangs, only its warden can end it, and a warden takes
    a child that holds a video for one at work.
    """
    try:
        return None if tail.astray else claim_in_turn(process, turns, beside=tail.busy)
    except OUTAGES as error:
        if not tail.busy:
            raise
        log.warning("nothing can be claimed; the tail goes on", extra={"error": type(error).__name__})
        return None


def _work_on(process: Process, presence: Presence, lease: Lease, tail: Tail) -> None:
    with bound(video=lease.video_id.hex, tenant=lease.tenant_id.hex, stage=lease.stage):
        pulse = Pulse(process, lease)

        def present() -> Parts[object]:
            with presence.busy(lease.video_id):
                yield from _stage(process, lease, pulse)

        tail.follow(present(), pulse.lost_for)


def _rest(process: Process, turns: list[str], over_at: float) -> None:
    """While an operator keeps the worker drained it stays at this hint and so takes no other: the next worker does.

    It looks instead of waiting for an event, whose lock the handler of a signal in this thread may ask for.
    """
    if process.draining.resting:
        _pass_on(process, turns)
    while process.draining.resting and time.monotonic() < over_at:
        time.sleep(REST_SECONDS)


def _pass_on(process: Process, queues: list[str]) -> None:
    for queue in queues:
        process.ringer.want(queue)


def claim_in_turn(process: Process, turns: list[str], *, beside: bool = False) -> Lease | None:
    """The first claim that one of the queues gives; that queue then moves to the end of `turns`.

    `beside`: another video is at work here, so none that has met a crash.
    """
    for place, queue in enumerate(turns):
        lease = _claim(process, stage_of(queue), queue, beside=beside)
        if lease is not None:
            turns.append(turns.pop(place))
            return lease
    return None


def stage_of(queue: str) -> Stage:
    """Which stage waits in a queue."""
    return Stage.RENDER if queue.startswith("render.") else Stage(queue)


def run(process: Process, lease: Lease) -> State | None:
    """One stage of one video, from its claim to its next state. None: it was lost on the way."""
    return through(_stage(process, lease, Pulse(process, lease)))


def _stage(process: Process, lease: Lease, pulse: Pulse) -> Parts[State | None]:
    with pulse:
        outcome = yield from _attempt(process, lease, pulse)
        after = _settle(process, lease, outcome)
    log.info("stage over", extra={"outcome": type(outcome).__name__, "state": after, "fence": lease.fence})
    _ring(process, lease, after)
    return after


def _claim(process: Process, stage: Stage, queue: str, *, beside: bool = False) -> Lease | None:
    with process.database.transaction_for_any_tenant() as connection:
        lease = schedule.claim_for_any_tenant(
            connection, stage, queue, process.worker.id, process.settings.lease_seconds, beside=beside
        )
        more = lease is not None and schedule.waiting_for_any_tenant(connection, queue, 1) > 0
    if more:
        process.ringer.want(queue)
    return lease


def _attempt(process: Process, lease: Lease, pulse: Pulse) -> Parts[Outcome]:
    try:
        if lease.crashes:  # if it kills its worker, no other video shall pay for that, nor it for another's
            return through(_work(process, lease, pulse))
        return (yield from _work(process, lease, pulse))
    except Interrupted:
        return Lost() if pulse.lost else Released()
    except OutOfPatience:
        log.warning("the store was away for too long", exc_info=True)
        at_last = State.HELD if lease.stage is Stage.SCREEN else State.FAILED
        return Retry("store_away", f"{lease.stage}_failed", at_last)
    except AWAY:
        log.warning("a server is away; the video waits", exc_info=True)
        return Released(AWAY_SECONDS)
    except Exception as error:
        # Whatever nobody planned is a failed attempt of this video, never the end of the worker.
        log.exception("stage failed")
        return Retry(_reason(error), f"{lease.stage}_failed")


def _reason(error: BaseException) -> str:
    """A word for the timeline. A full disk hides behind the encoder's and the store's own errors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return "disk_full"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _work(process: Process, lease: Lease, pulse: Pulse) -> Parts[Outcome]:
    with process.database.transaction(lease.tenant_id) as connection:
        video = videos.find(connection, lease.tenant_id, lease.video_id)
    if video is None:
        return Lost()
    # Imported here so that a process loads the libraries of its own stages only.
    match lease.stage:
        case Stage.SCREEN:
            from worker.pipeline.screen import screen  # noqa: PLC0415 - see above

            return screen(process, lease, video, pulse)
        case Stage.RENDER:
            from worker.pipeline.render import render  # noqa: PLC0415 - see above

            return (yield from render(process, lease, video, pulse))
        case Stage.PUBLISH:
            from worker.pipeline.publish import publish  # noqa: PLC0415 - see above

            return publish(process, lease, video, pulse)


def _settle(process: Process, lease: Lease, outcome: Outcome) -> State | None:
    """Write the outcome down, and insist while Postgres is away; the lease bounds how long that makes sense."""
    give_up_at = time.monotonic() + process.settings.lease_seconds
    while True:
        try:
            with process.database.transaction(lease.tenant_id) as connection:
                after = _apply(connection, lease, outcome)
                if after is None:
                    _note_return(connection, lease, outcome)
                return after
        except OUTAGES:
            if time.monotonic() > give_up_at:
                log.exception("the outcome could not be written; the reaper will see to it")
                return None
            time.sleep(0.5)


def _note_return(connection: Connection, lease: Lease, outcome: Outcome) -> None:
    """Nothing was written, so the lease was lost; if it ran out, the timeline and the log say that we came back."""
    has_result = isinstance(outcome, Done | Refused | Failed)
    if leases.came_back(connection, lease, "rejected" if has_result else "stopped") and has_result:
        log.warning("a result came after its lease had run out and is discarded", extra={"fence": lease.fence})


def _apply(connection: Connection, lease: Lease, outcome: Outcome) -> State | None:
    match outcome:
        case Done(after, record, timings):
            return _move(connection, _change(lease, after, "done", timings=timings), record)
        case Refused(after, record):
            code = "moderation_blocked" if after is State.BLOCKED else None
            return _move(connection, _change(lease, after, str(after), code), record)
        case Failed(code):
            return _move(connection, _change(lease, State.FAILED, code, code))
        case Lost():
            return None
        case Retry() | Undone() | Released():
            return _go_back(connection, lease, outcome)


def _go_back(connection: Connection, lease: Lease, outcome: Retry | Undone | Released) -> State | None:
    match outcome:
        case Retry(reason, code, at_last):
            return leases.fail(connection, lease, reason, code, at_last)
        case Undone():
            return leases.render_again(connection, lease, "publish_failed")
        case Released(delay_seconds):
            return leases.hand_back(connection, lease, delay_seconds)


def _change(
    lease: Lease, after: State, outcome: str, code: str | None = None, *, timings: dict[str, Any] | None = None
) -> Move:
    return Move(
        lease.tenant_id,
        lease.video_id,
        RUNS[lease.stage].running,
        after,
        lease.fence,
        outcome=outcome,
        error_code=code,
        error_message=VIDEO_ERRORS[code] if code else None,
        timings=timings,
    )


def _move(connection: Connection, change: Move, record: Callable[[Connection], None] | None = None) -> State | None:
    if not move(connection, change):
        return None
    if record is not None:
        record(connection)
    return change.after


def _ring(process: Process, lease: Lease, after: State | None) -> None:
    try:
        for queue in _next_queues(process, lease, after):
            process.ringer.want(queue)
    except OUTAGES:
        log.warning("the next stage was not rung for; the dispatcher will see to it", exc_info=True)


def _next_queues(process: Process, lease: Lease, after: State | None) -> tuple[str, ...]:
    """Who should look now: the next stage, or the deliverers of the video's webhook."""
    if after is None:
        return ()
    if after in TERMINAL:
        return (DELIVER,)
    stage = STAGE_OF_WAITING.get(after)
    if stage is None:
        return ()
    if stage is not Stage.RENDER:
        return (stage.value,)
    with process.database.transaction(lease.tenant_id) as connection:
        video = videos.find(connection, lease.tenant_id, lease.video_id)
    return () if video is None else (video.pool,)
