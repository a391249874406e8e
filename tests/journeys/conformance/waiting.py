"""Lines 6 and 7: waiting for the end, and ends that are none."""

from __future__ import annotations

from itertools import pairwise

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, REFUSED_LATER, Stage


@line(6)
def polls_come_as_the_header_asks(stage: Stage) -> None:
    with stage.counted() as exchanges:
        done = stage.videos.create_and_poll(**BARS)
    assert (done.status, done.progress, done.completed_at is not None) == ("completed", 100, True)
    polls = [exchange for exchange in exchanges if exchange.method == "GET"]
    asked = int(polls[0].headers["openai-poll-after-ms"]) / 1000
    assert 0.5 <= asked <= 15
    gaps = [later.at - earlier.at for earlier, later in pairwise(polls)]
    assert gaps, "it was not finished at once"
    assert min(gaps) >= asked * 0.95, (asked, gaps)
    assert max(gaps) <= asked + 2, (asked, gaps)
    assert "openai-poll-after-ms" not in polls[-1].headers, "nothing is left to wait for"
    stage.videos.delete(done.id)


@line(6)
def the_callers_own_interval_wins(stage: Stage) -> None:
    with stage.counted() as exchanges:
        done = stage.videos.create_and_poll(**BARS, poll_interval_ms=150)
    polls = [exchange.at for exchange in exchanges if exchange.method == "GET"]
    assert min(later - earlier for earlier, later in pairwise(polls)) < 0.5
    stage.videos.delete(done.id)


@line(7)
def a_video_that_moderation_refuses_says_so(stage: Stage) -> None:
    failed = stage.videos.create_and_poll(**{**BARS, "prompt": REFUSED_LATER}, poll_interval_ms=200)
    assert failed.status == "failed"
    assert failed.error.code == "moderation_blocked"
    assert failed.error.message == "Your request was blocked by our moderation system."
    assert failed.completed_at is not None
    stage.videos.delete(failed.id)


@line(7)
def a_cancelled_video_has_failed_too(stage: Stage) -> None:
    client = stage.client()
    made = client.videos.create(**BARS, extra_body={"steps": 1500})
    client.post(f"/videos/{made.id}/cancel", cast_to=object)
    failed = client.videos.poll(made.id)
    assert (failed.status, failed.error.code) == ("failed", "cancelled")
    assert failed.error.message
    client.videos.delete(made.id)
