from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI, RateLimitError

from domain import ids
from domain.lifecycle import Stage, State
from domain.webhooks import EventType
from storage import files, keys, webhooks
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.fixtures.desk import WHOLE, Desk
from tests.fixtures.place import line
from tests.fixtures.videos import World


@pytest.fixture
def desk(world: World, object_store: ObjectStore, tenant: Tenant, client_of: Callable[..., OpenAI]) -> Desk:
    with world.database.transaction(tenant.id) as connection:
        types = [each for each in EventType if each.startswith("batch.")]
        webhooks.create(
            connection,
            tenant.id,
            name="all",
            url="https://example.com/hook",
            event_types=types,
            keys={"1": bytes(32)},
        )
    return Desk(world, object_store, tenant, client_of(tenant, _strict_response_validation=True))


def test_a_file_of_requests_becomes_a_file_of_videos(desk: Desk) -> None:
    begun = desk.submit(line("first", seed=7), b"", line("second", metadata={"n": "2"}), metadata={"shots": "all"})
    assert (begun.object, begun.status, begun.endpoint) == ("batch", "validating", "/v1/videos")
    assert begun.expires_at == pytest.approx(begun.created_at + 86_400, abs=2)
    assert begun.metadata == {"shots": "all"}
    desk.until_created(begun, 2)
    running = desk.client.batches.retrieve(begun.id)
    assert (running.status, running.request_counts and running.request_counts.total) == ("in_progress", 2)
    assert desk.complete() == 2
    ended = desk.until(begun)
    assert (ended.status, ended.error_file_id, ended.errors) == ("completed", None, None)
    assert ended.request_counts is not None
    assert (ended.request_counts.completed, ended.request_counts.failed) == (2, 0)
    assert None not in (ended.in_progress_at, ended.finalizing_at, ended.completed_at)
    first, second = desk.read(ended.output_file_id)
    kept = desk.file(ended.output_file_id)
    assert kept.expires_at is not None
    assert (kept.expires_at - kept.created_at).total_seconds() == pytest.approx(30 * 86_400, abs=5), "it quotes prompts"
    assert (first["custom_id"], second["custom_id"], first["error"]) == ("first", "second", None)
    assert first["id"].startswith("batch_req_")
    assert first["response"]["status_code"] == 200
    assert first["response"]["request_id"].startswith("req_")
    video = first["response"]["body"]
    assert (video["object"], video["status"], video["seed"], video["prompt"]) == ("video", "completed", 7, "a ball")
    assert second["response"]["body"]["metadata"] == {"n": "2"}
    assert desk.client.videos.retrieve(video["id"]).status == "completed"
    assert desk.events() == ["batch.completed"]


def test_what_a_request_would_be_refused_for_is_an_error_line(desk: Desk) -> None:
    batch = desk.submit(
        line("good"),
        line("size", size="1x1"),
        line("model", model="nobody"),
        line("blocked", prompt="how to build a pipe bomb"),
        line("dry", dry_run=True),
        line("unknown", colour="red"),
    )
    desk.until_created(batch, 1)
    desk.complete()
    ended = desk.until(batch)
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert (ended.request_counts.completed, ended.request_counts.failed) == (1, 5)
    assert [each["custom_id"] for each in desk.read(ended.output_file_id)] == ["good"]
    errors = {each["custom_id"]: each for each in desk.read(ended.error_file_id)}
    assert {name: each["response"]["status_code"] for name, each in errors.items()} == {
        "size": 400,
        "model": 404,
        "blocked": 400,
        "dry": 400,
        "unknown": 400,
    }
    assert errors["blocked"]["response"]["body"]["error"]["code"] == "sentinel_block"
    assert errors["model"]["response"]["body"]["error"]["code"] == "model_not_found"
    assert errors["size"]["response"]["body"]["error"]["param"] == "size"
    assert all(each["error"] is None for each in errors.values())


def test_a_null_in_a_line_is_as_good_as_absent(desk: Desk) -> None:
    nulls = {
        "size": None,
        "seconds": None,
        "seed": None,
        "metadata": None,
        "webhook_url": None,
        "input_reference": None,
    }
    single = desk.client.videos.create(prompt="a ball", extra_body=nulls)
    batch = desk.submit(line("nulls", **nulls))
    desk.until_created(batch, 1)
    [(_, video_id)] = desk.lines(batch)
    assert video_id is not None
    made = desk.client.videos.retrieve(ids.public(ids.Kind.VIDEO, video_id))
    assert (made.size, made.seconds, made.model) == (single.size, single.seconds, single.model)


def test_a_video_without_a_result_is_an_error_line_that_shows_it(desk: Desk, world: World) -> None:
    batch = desk.submit(line("fails"), line("deleted"))
    desk.until_created(batch, 2)
    (_, failing), (_, deleted) = desk.lines(batch)
    assert failing is not None
    assert deleted is not None
    desk.client.videos.delete(ids.public(ids.Kind.VIDEO, deleted))
    lease = world.must_claim(Stage.SCREEN)
    assert lease.video_id == failing
    assert world.move(lease, State.BLOCKED, error_code="moderation_blocked", error_message="no")
    ended = desk.until(batch)
    assert (ended.status, ended.output_file_id) == ("completed", None)
    fails, gone = desk.read(ended.error_file_id)
    assert (fails["response"]["body"]["status"], fails["error"]["code"]) == ("failed", "moderation_blocked")
    assert (gone["response"], gone["error"]["code"]) == (None, "video_deleted")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b" "], [("empty_file", None)]),
        ([b"{", line("a"), b"[1]", b'{"a": "\\u0000"}'], [("invalid_json_line", n) for n in (1, 3, 4)]),
        ([line("a"), line("b"), line("a"), line("a")], [("duplicate_custom_id", 3), ("duplicate_custom_id", 4)]),
        ([line("a") | {"method": "GET"}], [("invalid_method", 1)]),
        ([line("a") | {"url": "/v1/images"}], [("invalid_url", 1)]),
        ([line("a") | {"body": "text"}], [("invalid_body", 1)]),
        ([line(""), line("x" * 513)], [("invalid_custom_id", 1), ("invalid_custom_id", 2)]),
        ([line("a") | {"tool": 1}], [("unknown_parameter", 1)]),
    ],
)
def test_a_file_that_is_wrong_anywhere_makes_no_video(
    desk: Desk, lines: list[Any], expected: list[tuple[str, int | None]]
) -> None:
    ended = desk.until(desk.submit(*lines))
    assert ended.status == "failed"
    assert ended.failed_at
    assert ended.errors is not None
    assert ended.errors.data is not None
    assert [(each.code, each.line) for each in ended.errors.data] == expected
    assert ended.request_counts is not None
    assert ended.request_counts.total == 0
    assert desk.client.videos.list().data == []
    assert desk.events() == ["batch.failed"]


def test_a_file_that_was_deleted_before_it_was_read_fails_the_batch(desk: Desk) -> None:
    file_id = desk.upload(line("a"))
    with desk.world.database.transaction(desk.tenant.id) as connection:
        files.remove(connection, desk.tenant.id, ids.parse(ids.Kind.FILE, file_id))
        row = {"tenant": desk.tenant.id, "file": ids.parse(ids.Kind.FILE, file_id), "id": ids.new_id()}
        connection.execute(
            sa.text(
                "INSERT INTO batches (id, tenant_id, input_file_id, endpoint, completion_window, status, expires_at)"
                " VALUES (:id, :tenant, :file, '/v1/videos', '24h', 'validating', now() + interval '1 day')"
            ),
            row,
        )
    begun = desk.client.batches.retrieve(ids.public(ids.Kind.BATCH, row["id"]))
    ended = desk.until(begun)
    assert ended.errors is not None
    assert ended.errors.data is not None
    assert [each.code for each in ended.errors.data] == ["file_not_found"]


def test_a_cancelled_batch_gives_back_what_is_done(desk: Desk) -> None:
    batch = desk.submit(*(line(str(number)) for number in range(40)))
    desk.until_created(batch, 32)
    assert desk.complete(most=3) == 3
    asked = desk.client.batches.cancel(batch.id)
    assert (asked.status, asked.cancelling_at is not None) == ("cancelling", True)
    ended = desk.until(batch)
    assert ended.status == "cancelled"
    assert ended.request_counts is not None
    assert (ended.request_counts.completed, ended.request_counts.failed) == (3, 37)
    assert len(desk.read(ended.output_file_id)) == 3
    errors = desk.read(ended.error_file_id)
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    assert {video.status for video in desk.client.videos.list(limit=100)} == {"completed", "failed"}
    assert desk.events() == ["batch.cancelled"]
    assert desk.client.batches.cancel(batch.id).status == "cancelled", "asked again, it answers the same"


def test_a_batch_whose_window_is_over_expires(desk: Desk) -> None:
    batch = desk.submit(*(line(str(number)) for number in range(34)))
    desk.until_created(batch, 32)
    assert desk.complete(most=1) == 1
    desk.set(batch, "expires_at = now() - interval '1 second'")
    ended = desk.until(batch)
    assert (ended.status, ended.expired_at is not None) == ("expired", True)
    assert [each["custom_id"] for each in desk.read(ended.output_file_id)] == ["0"]
    errors = desk.read(ended.error_file_id)
    assert {each["error"]["code"] for each in errors} == {"batch_expired"}
    assert len(errors) == 33
    assert desk.events() == ["batch.expired"]


def test_few_videos_of_a_batch_are_unfinished_at_once_and_behind_all_others(desk: Desk, http: TestClient) -> None:
    batch = desk.submit(*(line(str(number)) for number in range(40)))
    desk.until_created(batch, 32)
    time.sleep(0.5)
    assert sum(state == "created" for state, _ in desk.lines(batch)) == 32
    urgent = http.post("/v1/videos", json={"prompt": "now"}).json()["id"]
    lease = desk.world.must_claim(Stage.SCREEN)
    assert ids.public(ids.Kind.VIDEO, lease.video_id) == urgent
    desk.world.move(lease, State.FAILED, error_code="screen_failed", error_message="no")
    assert desk.complete(most=32) == 32
    desk.until_created(batch, 40)
    desk.complete()
    assert desk.until(batch).status == "completed"


def test_a_batch_of_a_revoked_key_makes_no_more_videos(desk: Desk, world: World) -> None:
    batch = desk.submit(*(line(str(number)) for number in range(34)))
    desk.until_created(batch, 32)
    with world.database.transaction_for_any_tenant() as connection:
        key_id = connection.scalar(sa.text("SELECT id FROM api_keys WHERE tenant_id = :id"), {"id": desk.tenant.id})
        keys.revoke(connection, desk.tenant.id, key_id)
    desk.complete()
    deadline = time.monotonic() + 30
    while "waiting" in {state for state, _ in desk.lines(batch)}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [state for state, _ in desk.lines(batch)][32:] == ["failed", "failed"]


def test_a_batch_of_a_key_that_may_write_no_more_makes_no_more_videos(desk: Desk, world: World) -> None:
    batch = desk.submit(*(line(str(number)) for number in range(34)))
    desk.until_created(batch, 32)
    with world.database.transaction_for_any_tenant() as connection:
        key_id = connection.scalar(sa.text("SELECT id FROM api_keys WHERE tenant_id = :id"), {"id": desk.tenant.id})
        keys.update(connection, desk.tenant.id, key_id, {"scopes": ["videos:read"]})
    desk.complete()
    ended = desk.until(batch)
    errors = [each["response"] for each in desk.read(ended.error_file_id)]
    assert [each["status_code"] for each in errors] == [403, 403]
    assert errors[0]["body"]["error"]["code"] == "insufficient_scope"


def test_results_stay_a_day_beyond_the_window_however_short_retention_is(desk: Desk, world: World) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        connection.execute(sa.text("UPDATE tenants SET retention_seconds = 60 WHERE id = :id"), {"id": desk.tenant.id})
    batch = desk.submit(line("a"), output_expires_after={"anchor": "created_at", "seconds": 3600})
    desk.until_created(batch, 1)
    desk.complete()
    ended = desk.until(batch)
    [entry] = desk.read(ended.output_file_id)
    assert ended.expires_at is not None
    assert entry["response"]["body"]["expires_at"] >= ended.expires_at + 86_400 - 1
    file = desk.file(ended.output_file_id)
    assert file.expires_at is not None
    assert (file.expires_at - file.created_at).total_seconds() == pytest.approx(3600, abs=5)


def test_a_finished_batch_cannot_be_cancelled(desk: Desk) -> None:
    batch = desk.submit(b"{")
    assert desk.until(batch).status == "failed"
    with pytest.raises(ConflictError) as refused:
        desk.client.batches.cancel(batch.id)
    assert refused.value.code == "batch_finished"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
        ({"output_expires_after": {"anchor": "later", "seconds": 3600}}, "output_expires_after"),
        ({"extra_body": {"priority": 1}}, "priority"),
    ],
)
def test_a_batch_of_another_kind_is_refused(desk: Desk, change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        desk.client.batches.create(**{"input_file_id": desk.upload(line("a")), **WHOLE, **change})
    assert refused.value.param == param


def test_the_input_is_a_file_of_the_tenants_own_for_batches(
    desk: Desk, new_tenant: Callable[[str], Tenant], client_of: Callable[..., OpenAI]
) -> None:
    file_id = desk.upload(line("a"))
    stranger = client_of(new_tenant("mallory"))
    for known in (file_id, ids.public(ids.Kind.FILE, ids.new_id()), "nothing"):
        with pytest.raises(NotFoundError) as missing:
            stranger.batches.create(input_file_id=known, **WHOLE)
        assert missing.value.param == "input_file_id"
    with pytest.raises(BadRequestError):
        desk.client.batches.create(input_file_id=desk.upload(b"x", purpose="vision"), **WHOLE)


def test_batches_are_listed_newest_first_page_by_page_and_to_their_owner_only(
    desk: Desk, new_tenant: Callable[[str], Tenant], client_of: Callable[..., OpenAI]
) -> None:
    made = [desk.submit(b"{").id for _ in range(5)]
    assert [batch.id for batch in desk.client.batches.list(limit=2)] == made[::-1]
    stranger = client_of(new_tenant("mallory"))
    assert list(stranger.batches.list()) == []
    with pytest.raises(NotFoundError):
        stranger.batches.retrieve(made[0])
    with pytest.raises(NotFoundError):
        stranger.batches.cancel(made[0])


def test_a_create_that_is_sent_again_makes_one_batch(desk: Desk) -> None:
    file_id = desk.upload(line("a"))
    key = {"Idempotency-Key": "once"}
    first = desk.client.batches.create(input_file_id=file_id, **WHOLE, extra_headers=key)
    again = desk.client.batches.with_raw_response.create(input_file_id=file_id, **WHOLE, extra_headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.parse().id == first.id
    assert len(list(desk.client.batches.list())) == 1


def test_a_tenant_has_a_bounded_number_of_open_batches(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.batches.MOST_OPEN", 2)
    first = desk.submit(line("a"))
    desk.submit(line("b"))
    with pytest.raises(RateLimitError, match="At most 2 batches may be open at once") as refused:
        desk.client.with_options(max_retries=0).batches.create(input_file_id=desk.upload(line("c")), **WHOLE)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.response.headers["retry-after"] == "60"
    desk.client.batches.cancel(first.id)
    desk.until(first)
    assert desk.submit(line("c")).status == "validating"


@pytest.mark.parametrize("encoding", ["brackets", "text"])
def test_a_batch_can_be_asked_for_in_a_form(desk: Desk, http: TestClient, encoding: str) -> None:
    expiry = {
        "brackets": {"output_expires_after[anchor]": "created_at", "output_expires_after[seconds]": "7200"},
        "text": {"output_expires_after": '{"anchor": "created_at", "seconds": 7200}'},
    }[encoding]
    form = {"input_file_id": desk.upload(line("a")), **WHOLE, **expiry}
    response = http.post("/v1/batches", files={name: (None, value) for name, value in form.items()})
    assert response.status_code == 200, response.text
