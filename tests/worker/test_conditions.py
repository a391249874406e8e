"""What a plan names reaches the engine, the file and its credentials."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import numpy as np
import pytest
from PIL import Image

from domain.ids import new_id
from domain.lifecycle import Stage, State
from domain.video import Keyframe, Operation, Plan, Shot
from engines.encode import encode
from moderation.provenance import verify
from storage import outputs, videos
from storage.outputs import Kind
from tests.fixtures.videos import World
from worker.pipeline.work import run
from worker.process import Process


def a_picture(level: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 36), (level, level, level)).save(target, "PNG")
    return target.getvalue()


def a_clip(plan: Plan, level: int, folder: Path) -> bytes:
    frames_THWC = np.full((plan.rendered_frames, plan.rendered.height, plan.rendered.width, 3), level, np.uint8)
    return encode([frames_THWC], plan, folder, lambda _done, _total: None).video.read_bytes()


def put(process: Process, content: bytes, content_type: str) -> str:
    key = f"inputs/{new_id().hex}"
    process.store.put(key, content, content_type)
    return key


def queued(world: World, tenant: UUID, **changes: Any) -> UUID:
    planned = world.planned()
    new = replace(planned, plan=replace(planned.plan, **changes))
    with world.database.transaction(tenant) as connection:
        videos.create(connection, tenant, new)
    world.advance(Stage.SCREEN)
    return new.id


def result(process: Process, world: World, tenant: UUID, video_id: UUID, folder: Path) -> Path:
    for stage in (Stage.RENDER, Stage.PUBLISH):
        run(process, world.must_claim(stage))
    assert world.state(tenant, video_id) is State.COMPLETED
    with world.database.transaction(tenant) as connection:
        key = outputs.find(connection, tenant, video_id)[Kind.VIDEO].object_key
    process.store.fetch(key, folder / "result.mp4")
    return folder / "result.mp4"


def levels(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]


def test_an_extension_is_its_source_and_what_follows(process: Process, world: World, tmp_path: Path) -> None:
    tenant = world.tenant()
    source = put(process, a_clip(world.planned(seconds=2).plan, 120, tmp_path), "video/mp4")
    changes = {"operation": Operation.EXTEND, "source_clip": source, "source_seconds": 2.0}
    path = result(process, world, tenant, queued(world, tenant, **changes), tmp_path)
    shown = levels(path)
    assert len(shown) == 36
    assert all(abs(level - 120) < 4 for level in shown[:24])
    assert all(abs(level - 120) > 4 for level in shown[24:])
    found = verify(path, "video/mp4", Path(process.settings.provenance_root_file).read_text())
    assert (found.state, found.ingredients) == ("trusted", ("parentOf",))


def test_pictures_stand_where_the_plan_names_them(process: Process, world: World, tmp_path: Path) -> None:
    tenant = world.tenant()
    keys = {level: put(process, a_picture(level), "image/png") for level in (40, 90, 140, 190)}
    video_id = queued(
        world,
        tenant,
        seconds=2,
        first_frame=keys[40],
        last_frame=keys[190],
        keyframes=(Keyframe(0.5, keys[90]),),
        shots=(Shot("one", 1), Shot("two", 1, keys[140])),
    )
    path = result(process, world, tenant, video_id, tmp_path)
    shown = levels(path)
    assert [round(shown[number] / 10) for number in (0, 6, 12, 23)] == [4, 9, 14, 19]
    found = verify(path, "video/mp4", Path(process.settings.provenance_root_file).read_text())
    assert (found.state, found.ingredients) == ("trusted", ("inputTo",) * 4)


@pytest.mark.parametrize("content", [None, b"no clip"])
def test_a_source_that_cannot_be_read_ends_the_video_plainly(
    process: Process, world: World, content: bytes | None
) -> None:
    tenant = world.tenant()
    key = "inputs/nowhere" if content is None else put(process, content, "video/mp4")
    video_id = queued(world, tenant, operation=Operation.EDIT, source_clip=key, source_seconds=1.0)
    assert run(process, world.must_claim(Stage.RENDER)) is State.FAILED
    with world.database.transaction(tenant) as connection:
        video = videos.find(connection, tenant, video_id)
    assert video is not None
    assert video.error_code == "input_unreadable"
