"""Videos brought into any state, as workers would: through claims and moves."""

from __future__ import annotations

import hashlib
from uuid import UUID

from domain.errors import VIDEO_ERRORS
from domain.lifecycle import RUNS, Stage, State
from storage import outputs
from storage.lifecycle import Move, move
from storage.objects import ObjectStore
from storage.outputs import CONTENT_TYPES, Kind, Output
from tests.fixtures.videos import World

FILES = {Kind.VIDEO: b"0123456789" * 100, Kind.THUMBNAIL: b"a thumbnail", Kind.SPRITESHEET: b"a spritesheet"}
_ENDS = {State.FAILED: "render_failed", State.BLOCKED: "moderation_blocked"}


def bring(world: World, state: State, store: ObjectStore | None = None) -> None:
    """Take the one waiting video to a state; nothing else may be claimable."""
    for stage, run in RUNS.items():
        if state is run.waiting:
            return
        lease = world.must_claim(stage)
        if state is run.running:
            return
        if state is State.HELD or state in _ENDS:
            code = {"error_code": _ENDS[state], "error_message": VIDEO_ERRORS[_ENDS[state]]} if state in _ENDS else {}
            assert world.move(lease, state, **code)
            return
        after = {Stage.SCREEN: State.QUEUED, Stage.RENDER: State.RENDERED}.get(stage)
        if after is not None:
            assert world.move(lease, after)
    assert state is State.COMPLETED
    assert store is not None
    with world.database.transaction(lease.tenant_id) as connection:
        keys = {kind: outputs.key(lease, kind) for kind in Kind}
        assert outputs.register(connection, lease, "output", list(keys.values()))
        files = [
            Output(kind, keys[kind], CONTENT_TYPES[kind], hashlib.sha256(content).digest(), len(content))
            for kind, content in FILES.items()
        ]
        outputs.publish(connection, lease.tenant_id, lease.video_id, files)
        change = Move(lease.tenant_id, lease.video_id, State.PUBLISHING, State.COMPLETED, lease.fence)
        assert move(connection, change)
    for kind, content in FILES.items():
        store.put(keys[kind], content, CONTENT_TYPES[kind])


def expire(world: World, tenant_id: UUID, video_id: UUID) -> None:
    """What the dispatcher does at the queue's deadline."""
    change = Move(
        tenant_id,
        video_id,
        State.RECEIVED,
        State.EXPIRED,
        0,
        error_code="queue_timeout",
        error_message=VIDEO_ERRORS["queue_timeout"],
    )
    with world.database.transaction(tenant_id) as connection:
        assert move(connection, change)
