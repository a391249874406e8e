"""A tenant's moderation policy, as the screen stage applies it with the real moderator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import inspection, tenants
from tests.fixtures.videos import QUEUES, World
from worker.pipeline.work import run
from worker.process import Process

HARMLESS = "a red ball rolls left"
FIGURE = "Donald Trump walks on the moon"  # a rule wants a person to see it
HARMFUL = "a man is beaten and stabbed again and again, blood everywhere"
Screened = Callable[[str, dict[str, Any] | None], tuple[State | None, str]]


@pytest.fixture
def screened(world: World, settings: Settings, moderator: str) -> Iterator[Screened]:
    asking = replace(settings, moderation_url=moderator, moderation_timeout_seconds=30)
    process = Process(asking, (QUEUES[Stage.SCREEN],))

    def screen(prompt: str, policy: dict[str, Any] | None) -> tuple[State | None, str]:
        tenant = world.tenant()
        with world.database.transaction_for_any_tenant() as connection:
            tenants.update(connection, tenant, {"moderation": policy})
        video_id = world.create(tenant)
        with world.database.transaction_for_any_tenant() as connection:
            connection.execute(
                sa.text("UPDATE videos SET plan = plan || CAST(:said AS jsonb)"),
                {"said": json.dumps({"prompt": prompt})},
            )
        after = run(process, world.must_claim(Stage.SCREEN, lease_seconds=60))
        with world.database.transaction(tenant) as connection:
            said = inspection.judgements(connection, tenant, video_id)
        return after, said[-1]["policy"] if said else ""

    yield screen
    process.ringer.stop()
    process.database.close()


def test_the_policy_of_a_tenant_decides_and_is_named_in_the_verdict(screened: Screened) -> None:
    usual = {prompt: screened(prompt, None) for prompt in (HARMLESS, FIGURE, HARMFUL)}
    assert [state for state, _ in usual.values()] == [State.QUEUED, State.HELD, State.BLOCKED]
    assert not any(policy.endswith("+tenant") for _, policy in usual.values())
    assert screened(FIGURE, {"on_review": "block"})[0] is State.BLOCKED
    loose = screened(HARMFUL, {"review_from": 1.0, "block_from": 1.0})
    assert loose[0] is State.QUEUED
    assert loose[1].endswith("+tenant")
    assert screened(FIGURE, {"review_from": 1.0, "block_from": 1.0})[0] is State.HELD, "a rule is not loosened"
    assert screened(HARMFUL, {"review_from": 0.05})[0] is State.BLOCKED


def test_a_policy_that_cannot_be_read_allows_nothing(screened: Screened) -> None:
    assert screened(HARMLESS, {"on_review": "look away"})[0] is not State.QUEUED
