from __future__ import annotations

from collections.abc import Callable

import pytest
from openai import OpenAI

from domain.lifecycle import State
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.api.stages import bring
from tests.fixtures.videos import World

PUBLIC = {
    State.RECEIVED: "queued",
    State.SCREENING: "queued",
    State.HELD: "queued",
    State.QUEUED: "queued",
    State.RENDERING: "in_progress",
    State.RENDERED: "in_progress",
    State.PUBLISHING: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.BLOCKED: "failed",
}


@pytest.mark.parametrize("state", PUBLIC)
def test_every_state_has_one_of_four_statuses_in_strict_mode(
    client_of: Callable[..., OpenAI], tenant: Tenant, world: World, object_store: ObjectStore, state: State
) -> None:
    strict = client_of(tenant, _strict_response_validation=True)
    video = strict.videos.create(prompt="a ball", extra_body={"metadata": {"k": "v"}})
    bring(world, state, object_store)
    seen = strict.videos.retrieve(video.id)
    assert (seen.status, seen.to_dict()["stage"]) == (PUBLIC[state], state.value)
    assert strict.videos.list().data[0].to_dict()["metadata"] == {"k": "v"}
