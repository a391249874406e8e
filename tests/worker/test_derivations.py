"""What the API accepts, the workers render: each call that makes a video, from its body to its file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import av
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from domain import ids
from domain.lifecycle import Stage, State
from runtime.settings import Settings
from storage import keys
from tests.fixtures.media import clip, data_url, picture
from tests.fixtures.videos import World
from worker.pipeline.work import run
from worker.process import Process

PICTURE = {"image_url": data_url(picture())}
BASE: dict[str, Any] = {"prompt": "a red ball", "model": "testcard", "size": "256x144", "seconds": "1", "steps": 1}


@dataclass(frozen=True)
class House:
    """An API and a worker on one database."""

    http: TestClient
    process: Process
    world: World
    tenant_id: UUID

    def made(self, path: str, values: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The completed video's object."""
        answer = self.http.post(path, **(options or {"json": values}))
        assert answer.status_code == 200, answer.text
        public_id = answer.json()["id"]
        self.world.advance(Stage.SCREEN)
        for stage in (Stage.RENDER, Stage.PUBLISH):
            run(self.process, self.world.must_claim(stage))
        assert self.world.state(self.tenant_id, ids.parse(ids.Kind.VIDEO, public_id)) is State.COMPLETED
        return self.http.get(f"/v1/videos/{public_id}").json()

    def frames(self, video: dict[str, Any]) -> int:
        """Decoded frames of the file."""
        content = self.http.get(f"/v1/videos/{video['id']}/content").content
        with av.open(io.BytesIO(content)) as container:
            return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def house(settings: Settings, process: Process, world: World) -> Iterator[House]:
    tenant_id = world.tenant()
    with world.database.transaction_for_any_tenant() as connection:
        key = keys.issue_for_any_tenant(connection, tenant_id, "test", settings.key_pepper.encode(), "1")
    with TestClient(create_app(replace(settings, testcard=True))) as http:
        http.headers["authorization"] = f"Bearer {key}"
        yield House(http, process, world, tenant_id)


def test_a_video_with_every_extra_is_rendered(house: House) -> None:
    extras = {
        "negative_prompt": "rain",
        "style": "ink",
        "motion_intensity": 0.5,
        "fps": 24,
        "seed": 7,
        "input_reference": PICTURE,
        "last_frame": PICTURE,
        "keyframes": [{"second": 1.5, "image": PICTURE}],
        "shots": [{"prompt": "a", "seconds": 1}, {"prompt": "b", "seconds": 1, "reference": PICTURE}],
        "loras": [{"name": "sepia", "weight": 0.5}],
    }
    video = house.made("/v1/videos", {**BASE, "seconds": "2", **extras})
    assert (video["status"], video["progress"]) == ("completed", 100)
    assert house.frames(video) == 48


def test_a_line_of_derivations_is_rendered(house: House) -> None:
    first = house.made("/v1/videos", BASE)
    named = {"prompt": "on", "video": {"id": first["id"]}, "steps": 1}
    longer = house.made("/v1/videos/extensions", {**named, "seconds": "2"})
    assert (longer["seconds"], house.frames(longer)) == ("3", 36)
    again = house.made("/v1/videos/extensions", {**named, "video": {"id": longer["id"]}, "seconds": "1"})
    assert (again["seconds"], house.frames(again)) == ("4", 48)
    edited = house.made("/v1/videos/edits", {**named, "video": {"id": again["id"]}, "mask": PICTURE})
    remixed = house.made(f"/v1/videos/{edited['id']}/remix", {"prompt": "at night", "steps": 1})
    assert [each["seconds"] for each in (edited, remixed)] == ["4", "4"]
    assert (house.frames(edited), house.frames(remixed)) == (48, 48)
    assert remixed["remixed_from_video_id"] == edited["id"]
    assert remixed["seed"] == edited["seed"]


def test_a_clip_that_comes_along_is_extended_to_what_was_promised(house: House) -> None:
    fields = {"prompt": "on", "model": "testcard", "seconds": "1", "steps": "1"}
    files = [*((name, (None, value)) for name, value in fields.items()), ("video", ("a.mp4", clip(seconds=1.5)))]
    video = house.made("/v1/videos/extensions", {}, files=files)
    assert (video["seconds"], house.frames(video)) == ("2.5", 30)


@pytest.mark.parametrize("deleted", ["before", "never"])
def test_a_source_may_be_gone_when_its_edit_is_rendered(house: House, deleted: str) -> None:
    first = house.made("/v1/videos", BASE)
    answer = house.http.post("/v1/videos/edits", json={"prompt": "x", "video": {"id": first["id"]}, "steps": 1})
    if deleted == "before":
        assert house.http.delete(f"/v1/videos/{first['id']}").status_code == 200
        with house.world.database.transaction(house.tenant_id) as connection:
            doomed = connection.exec_driver_sql("SELECT key FROM objects WHERE doomed_at IS NOT NULL").scalars().all()
        house.process.store.delete(doomed)
    house.world.advance(Stage.SCREEN)
    for stage in (Stage.RENDER, Stage.PUBLISH):
        run(house.process, house.world.must_claim(stage))
    assert house.http.get(f"/v1/videos/{answer.json()['id']}").json()["status"] == "completed"
