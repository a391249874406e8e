"""Line 15: what each status becomes in the client, and how many requests it costs.

422 is not among Kinema's answers: a malformed parameter is 400. Every 409 says `x-should-retry: false`, but for the one
that clears by itself: `idempotency_in_flight`, which clients send again after a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, Stage, expect

MOST = 3  # one request and two retries


def refused(stage: Stage, status: int, kind: type[Any], call: Callable[[], object], requests: int = 1) -> Any:
    """The call fails in that way after so many requests, all with that status and OpenAI's error body."""
    with stage.counted() as exchanges:
        error = expect(kind, call)
    assert [exchange.status for exchange in exchanges] == [status] * requests
    assert (error.status_code, type(error)) == (status, kind)
    assert set(error.body) == {"message", "type", "param", "code"}, error.body
    assert error.message
    assert [exchange.sent["x-stainless-retry-count"] for exchange in exchanges] == [str(n) for n in range(requests)]
    return error


@line(15)
def a_bad_value_is_400_once(stage: Stage) -> None:
    error = refused(stage, 400, openai.BadRequestError, lambda: stage.videos.create(**{**BARS, "seconds": "5"}))
    assert (error.type, error.param, error.code) == ("invalid_request_error", "seconds", "invalid_value")
    assert "Invalid value: '5'. Supported values are: " in error.message
    kinds = {"input_reference": "a string", "metadata": "a string"}
    for name, value in kinds.items():
        wrong = {**BARS, "extra_body": {name: value}}
        error = refused(stage, 400, openai.BadRequestError, lambda wrong=wrong: stage.videos.create(**wrong))
        assert error.param == name


@line(15)
def a_prompt_that_the_rules_refuse_is_400_and_says_little(stage: Stage) -> None:
    blocked = {**BARS, "prompt": "a naked 12 year old girl"}
    error = refused(stage, 400, openai.BadRequestError, lambda: stage.videos.create(**blocked))
    assert (error.type, error.param, error.code) == ("invalid_request_error", None, "sentinel_block")


@line(15)
def a_wrong_key_is_401_once(stage: Stage) -> None:
    stranger = stage.client(key="sk-wrong").videos
    refused(stage, 401, openai.AuthenticationError, lambda: stranger.create(**BARS))


@line(15)
def what_the_key_may_not_do_is_403_once(stage: Stage) -> None:
    reader = stage.client("reader").videos
    refused(stage, 403, openai.PermissionDeniedError, lambda: reader.create(**BARS))
    assert list(reader.list()) == []


@line(15)
def what_is_not_there_is_404_once(stage: Stage) -> None:
    refused(stage, 404, openai.NotFoundError, lambda: stage.videos.retrieve("video_nothing"))
    refused(stage, 404, openai.NotFoundError, lambda: stage.client().get("/nowhere", cast_to=object))
    error = refused(stage, 404, openai.NotFoundError, lambda: stage.videos.create(**{**BARS, "model": "no-such"}))
    assert (error.param, error.code) == ("model", "model_not_found")


@line(15)
def too_much_is_413_once(stage: Stage) -> None:
    heavy = ("first.png", bytes(40_000_000), "image/png")
    refused(stage, 413, openai.APIStatusError, lambda: stage.videos.create(**BARS, input_reference=heavy))


@line(15)
def a_conflict_is_409_once_because_it_says_so(stage: Stage) -> None:
    client, finished = stage.client(), stage.finished.id
    with stage.counted() as exchanges:
        call = lambda: client.post(f"/videos/{finished}/cancel", cast_to=object)  # noqa: E731 - said twice
        refused(stage, 409, openai.ConflictError, call)
    assert exchanges[-1].headers["x-should-retry"] == "false"


@line(15)
def a_spent_quota_is_429_once_because_it_does_not_clear(stage: Stage) -> None:
    poor = stage.client("poor").videos
    with stage.counted() as exchanges:
        error = refused(stage, 429, openai.RateLimitError, lambda: poor.create(**BARS))
    assert error.type == "insufficient_quota"
    assert exchanges[-1].headers["x-should-retry"] == "false"


@line(15)
def too_many_creates_are_429_until_the_client_has_waited(stage: Stage) -> None:
    patient, hurried = stage.client("hasty"), stage.client("hasty", max_retries=0)
    patient.videos.create(**BARS)
    with stage.counted() as exchanges:
        error = refused(stage, 429, openai.RateLimitError, lambda: hurried.videos.create(**BARS))
    assert error.type != "insufficient_quota", "this one clears"
    assert 1 <= int(exchanges[-1].headers["retry-after"]) <= 60
    assert exchanges[-1].headers.get("x-should-retry") != "false"


@line(15)
def a_dead_database_is_5xx_three_times(stage: Stage) -> None:
    dead = stage.client(at="dead_url").videos
    error = refused(stage, 503, openai.InternalServerError, lambda: dead.create(**BARS), requests=MOST)
    assert error.type == "server_error"
