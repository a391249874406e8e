"""Screen: the moderator decides about all texts, the frame classifier about all inputs, before any renderer sees them.

It fails closed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from domain.errors import NotFound
from domain.lifecycle import State
from engines.protocol import Interrupted
from moderation.frames import Verdict
from moderation.policy import SEVERITY, Action
from moderation.tolerance import Tolerance
from storage import tenants, verdicts
from storage.database import Connection
from storage.schedule import Lease
from storage.videos import Video
from worker import moderation
from worker.lease import Pulse
from worker.outcome import Done, Failed, Outcome, Refused, Retry
from worker.patience import AWAY, OutOfPatience
from worker.pipeline import inputs
from worker.process import Process

log = logging.getLogger(__name__)

AFTER = {"allow": State.QUEUED, "review": State.HELD, "block": State.BLOCKED}


def screen(process: Process, lease: Lease, video: Video, pulse: Pulse) -> Outcome:
    """Ask, look, write the verdicts down, and send the video on, to a person, or away."""
    settings = process.settings
    answer = moderation.ask(settings.moderation_url, video.plan.texts, settings.moderation_timeout_seconds)
    if isinstance(answer, moderation.Unavailable):
        return Retry(answer.reason, "screen_failed", at_last=State.HELD)
    tolerance = _tolerance(process, lease)
    answer = _weighed(answer, tolerance)
    seen: Sequence[Verdict] = ()
    if answer.action != "block":  # a person who releases a held text has seen what was said of the inputs
        looked = _look(process, video, pulse)
        if isinstance(looked, (Failed, Retry)):
            return looked
        seen = looked
    actions: list[Action] = [answer.action, *(verdict.action for verdict in seen)]
    after = AFTER[tolerance.settle(max(actions, key=SEVERITY.__getitem__))]
    record = partial(_record, lease, answer, seen)
    return Done(after, record) if after is State.QUEUED else Refused(after, record)


def _tolerance(process: Process, lease: Lease) -> Tolerance:
    """What the tenant's operator decided. Raises ValueError for a policy that cannot be read: it allows nothing."""
    with process.database.transaction(lease.tenant_id) as connection:
        return Tolerance.of(tenants.moderation(connection, lease.tenant_id))


def _weighed(answer: moderation.Verdict, tolerance: Tolerance) -> moderation.Verdict:
    """The verdict under the tenant's policy, which its name then says."""
    if not tolerance.departs:
        return answer
    action = tolerance.weigh(answer.action, answer.scores, answer.reasons)
    return replace(answer, action=action, policy=f"{answer.policy}+tenant")


def _look(process: Process, video: Video, pulse: Pulse) -> Sequence[Verdict] | Failed | Retry:
    """A verdict on each input. Whoever cannot look at one has not allowed it."""
    try:
        return inputs.judge(process, video.plan, pulse)
    except NotFound:
        return Failed("input_unreadable")
    except (Interrupted, OutOfPatience, *AWAY):
        raise
    except Exception as error:
        log.exception("an input could not be judged")
        return Retry(type(error).__name__, "screen_failed", at_last=State.HELD)


def _record(lease: Lease, answer: moderation.Verdict, seen: Sequence[Verdict], connection: Connection) -> None:
    _remember(connection, lease, "prompt", answer)
    for verdict in seen:
        _remember(connection, lease, "input", verdict)


def _remember(
    connection: Connection, lease: Lease, subject: Literal["prompt", "input"], verdict: moderation.Verdict | Verdict
) -> None:
    verdicts.record(
        connection,
        lease.tenant_id,
        lease.video_id,
        subject=subject,
        decision=verdict.action,
        policy=verdict.policy,
        model=verdict.model,
        scores=dict(verdict.scores),
    )
