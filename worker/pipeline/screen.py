"""Screen: the moderator decides about a prompt before any renderer sees it. It fails closed."""

from __future__ import annotations

from domain.lifecycle import State
from storage import verdicts
from storage.database import Connection
from storage.schedule import Lease
from storage.videos import Video
from worker import moderation
from worker.lease import Pulse
from worker.outcome import Done, Outcome, Refused, Retry
from worker.process import Process

AFTER = {"allow": State.QUEUED, "review": State.HELD, "block": State.BLOCKED}


def screen(process: Process, lease: Lease, video: Video, _pulse: Pulse) -> Outcome:
    """Ask, write the verdict down, and send the video on, to a person, or away."""
    settings = process.settings
    answer = moderation.ask(settings.moderation_url, _texts(video), settings.moderation_timeout_seconds)
    if isinstance(answer, moderation.Unavailable):
        return Retry(answer.reason, "screen_failed", at_last=State.HELD)

    def record(connection: Connection) -> None:
        verdicts.record(
            connection,
            lease.tenant_id,
            lease.video_id,
            subject="prompt",
            decision=answer.action,
            policy=answer.policy,
            model=answer.model,
            scores=dict(answer.scores),
        )

    after = AFTER[answer.action]
    return Done(after, record) if after is State.QUEUED else Refused(after, record)


def _texts(video: Video) -> list[str]:
    return [text for text in (video.plan.prompt, video.plan.negative_prompt) if text]
