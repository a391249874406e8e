"""Line 16: the first answer is lost, and still there is one video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai

from tests.fixtures.severing import LOSSES, Fate, first_try, severing
from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, Stage, expect

ASKED = {**BARS, "extra_body": {"steps": 1500}}


@contextmanager
def losing(stage: Stage, fate: Fate) -> Iterator[Any]:
    """A client whose first answers never reach it."""

    def choose(_method: str, headers: Mapping[str, str]) -> Fate:
        return fate if first_try(headers) else Fate.DELIVERED

    with severing(stage.facts["base_url"], choose) as proxy:
        yield stage.client("retrier", at="base_url", base_url=proxy.url).videos


def emptied(stage: Stage) -> list[str]:
    """The tenant's videos, which are gone afterwards."""
    videos = stage.client("retrier").videos
    found = [video.id for video in videos.list()]
    for video_id in found:
        videos.delete(video_id)
    return found


@line(16)
def a_retry_without_a_key_finds_the_first_ones_video(stage: Stage) -> None:
    for fate in LOSSES:
        with losing(stage, fate) as videos:
            made = videos.create(**ASKED)
        assert emptied(stage) == [made.id], fate


@line(16)
def a_retry_with_a_key_is_a_replay(stage: Stage) -> None:
    for fate in LOSSES:
        with losing(stage, fate) as videos:
            made = videos.create(**ASKED, extra_headers={"Idempotency-Key": f"once {fate.value}"})
        with stage.counted() as exchanges:
            same = stage.client("retrier").videos.create(
                **ASKED, extra_headers={"Idempotency-Key": f"once {fate.value}"}
            )
        assert same.id == made.id
        assert exchanges[0].headers["idempotent-replayed"] == "true"
        assert emptied(stage) == [made.id], fate


@line(16)
def a_key_that_means_something_else_is_409_and_not_tried_again(stage: Stage) -> None:
    videos = stage.client("retrier").videos
    headers = {"extra_headers": {"Idempotency-Key": "another body"}}
    videos.create(**ASKED, **headers)
    with stage.counted() as exchanges:
        expect(openai.ConflictError, lambda: videos.create(**{**ASKED, "prompt": "stripes"}, **headers))
    assert [exchange.headers["x-should-retry"] for exchange in exchanges] == ["false"]
    assert len(emptied(stage)) == 1


@line(16)
def two_deliberate_twins_are_two_videos(stage: Stage) -> None:
    videos = stage.client("retrier").videos
    twins = {videos.create(**ASKED).id for _ in range(2)}
    assert len(twins) == 2
    assert set(emptied(stage)) == twins
