from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from domain.lifecycle import Stage, State
from moderation import prompts, provenance, signing
from storage import held, outputs, videos
from storage.outputs import Kind
from storage.schedule import Lease
from storage.tables import events, objects, verdicts
from storage.tables import videos as table
from tests.fixtures.videos import World
from tests.worker.conftest import free_port
from worker.pipeline.work import run
from worker.process import Process

VIOLENT = "a man strangles his wife at home"


def rendered(process: Process, world: World) -> Lease:
    """A claim on publishing a video that really was rendered."""
    world.queued(world.tenant())
    assert run(process, world.must_claim(Stage.RENDER)) is State.RENDERED
    return world.must_claim(Stage.PUBLISH, lease_seconds=5)


def files(world: World, lease: Lease) -> dict[Kind, outputs.Output]:
    with world.database.transaction(lease.tenant_id) as connection:
        return dict(outputs.find(connection, lease.tenant_id, lease.video_id))


def test_a_published_video_is_signed_and_its_drafts_are_doomed(process: Process, world: World) -> None:
    lease = rendered(process, world)
    assert run(process, lease) is State.COMPLETED
    found = files(world, lease)
    root = Path(process.settings.provenance_root_file).read_text()
    for output in found.values():
        checked = provenance.verify(process.store.read(output.object_key), output.content_type, root)
        assert checked.state == "trusted"
    with world.database.transaction(lease.tenant_id) as connection:
        doomed = connection.scalars(sa.select(objects.c.purpose).where(objects.c.doomed_at.is_not(None))).all()
        kept = connection.scalars(sa.select(objects.c.purpose).where(objects.c.doomed_at.is_(None))).all()
        said = connection.execute(sa.select(verdicts.c.subject, verdicts.c.decision, verdicts.c.model)).all()
    assert (doomed, kept) == (["draft"] * 3, ["output"] * 3)
    assert said == [("output", "allow", "none (no frame classifier configured)")]


def test_a_result_that_a_person_let_pass_is_published_and_not_held_again(process: Process, world: World) -> None:
    process.settings = replace(process.settings, frame_classifier="tests.fixtures.classifiers:Doubtful")
    lease = rendered(process, world)
    assert run(process, lease) is State.HELD
    assert files(world, lease) == {}
    with world.database.transaction_for_any_tenant() as connection:
        assert held.decide_for_any_tenant(connection, lease.video_id, "allow", "ann") is State.RENDERED
    assert run(process, world.must_claim(Stage.PUBLISH, lease_seconds=5)) is State.COMPLETED
    assert len(files(world, lease)) == 3


def test_nothing_is_published_that_cannot_be_signed(process: Process, world: World) -> None:
    lease = rendered(process, world)
    now = datetime.now(UTC)
    stranger, _ = signing.issue_root(now - timedelta(days=1), now + timedelta(days=1))
    chain = Path(process.settings.provenance_cert_file).read_text()
    wrong = signing.local_identity(signing._key_pem(stranger), chain)
    process.__dict__["notary"] = provenance.Notary(wrong, "0")
    assert run(process, lease) is State.RENDERED, "it is tried again later"
    assert files(world, lease) == {}


def test_a_publisher_that_lost_its_lease_shows_nothing(process: Process, world: World) -> None:
    lease = rendered(process, world)
    assert world.move(lease, State.CANCELLED, error_code="cancelled", error_message="-", outcome="cancelled")
    assert run(process, lease) is None
    assert files(world, lease) == {}


def test_drafts_that_are_gone_are_rendered_again(process: Process, world: World) -> None:
    lease = rendered(process, world)
    process.store.delete(list(outputs.drafts_of(lease, lease.fence - 1).values()))
    assert run(process, lease) is State.QUEUED


def test_the_moderator_lets_a_harmless_prompt_pass(process: Process, world: World, moderator: str) -> None:
    process.settings = replace(process.settings, moderation_url=moderator)
    tenant = world.tenant()
    world.create(tenant)
    assert run(process, world.must_claim(Stage.SCREEN, lease_seconds=5)) is State.QUEUED
    with world.database.transaction(tenant) as connection:
        row = connection.execute(sa.select(verdicts)).one()
    assert (row.subject, row.decision) == ("prompt", "allow")
    assert row.policy
    assert set(row.scores) >= {"violence", "sexual/minors"}


def test_the_moderator_blocks_what_only_its_meaning_gives_away(process: Process, world: World, moderator: str) -> None:
    process.settings = replace(process.settings, moderation_url=moderator)
    assert prompts.check(VIOLENT).action != "block", "no rule knows the words"
    tenant = world.tenant()
    video_id = world.create(tenant)
    with world.database.transaction(tenant) as connection:
        plan = table.c.plan.concat(sa.type_coerce({"prompt": VIOLENT}, table.c.plan.type))
        connection.execute(sa.update(table).values(plan=plan))
    assert run(process, world.must_claim(Stage.SCREEN, lease_seconds=5)) is State.BLOCKED
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.error_code == "moderation_blocked"


def test_a_moderator_that_does_not_answer_decides_nothing(process: Process, world: World) -> None:
    process.settings = replace(process.settings, moderation_url=f"http://127.0.0.1:{free_port()}")
    tenant = world.tenant()
    world.create(tenant)
    states = []
    while State.HELD not in states:
        states.append(run(process, world.must_claim(Stage.SCREEN, lease_seconds=5)))
        with world.database.transaction(tenant) as connection:
            connection.execute(sa.update(table).values(run_at=sa.text("clock_timestamp()")))
            reasons = connection.scalars(
                sa.select(events.c.data["reason"].astext).where(events.c.data.has_key("reason"))
            )
            assert set(reasons) == {"ConnectError"}, "addresses and raw texts are for the log"
    assert states == [State.RECEIVED] * 4 + [State.HELD]
