"""Pictures and clips that come with a request are looked at before anything is rendered from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from domain.ids import new_id
from domain.lifecycle import Stage, State
from domain.video import Keyframe, Shot
from runtime.settings import Settings
from storage import videos
from tests.fixtures.videos import QUEUES, World
from worker.pipeline import inputs
from worker.pipeline.work import run
from worker.process import Process

GREY, ROSE, RED = (128, 128, 128), (230, 80, 80), (250, 0, 0)
REDNESS = "tests.fixtures.classifiers:Redness"
Screening = Callable[[str], Process]


@pytest.fixture
def screening(settings: Settings, moderator: str) -> Iterator[Screening]:
    made: list[Process] = []

    def make(classifier: str) -> Process:
        changed = replace(settings, moderation_url=moderator, frame_classifier=classifier)
        made.append(Process(changed, (QUEUES[Stage.SCREEN],)))
        return made[-1]

    yield make
    for process in made:
        process.ringer.stop()
        process.database.close()


def picture(process: Process, colour: tuple[int, int, int]) -> str:
    target = BytesIO()
    Image.new("RGB", (64, 64), colour).save(target, "PNG")
    return put(process, target.getvalue(), "png")


def clip(process: Process, *colours: tuple[int, int, int]) -> str:
    """One second of each."""
    target = BytesIO()
    with av.open(target, "w", format="mp4") as made:
        stream = made.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for colour in colours:
            for _ in range(8):
                frame_HWC = np.full((64, 64, 3), colour, np.uint8)
                made.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        made.mux(stream.encode(None))
    return put(process, target.getvalue(), "mp4")


def put(process: Process, content: bytes, suffix: str) -> str:
    key = f"inputs/{new_id().hex}.{suffix}"
    process.store.put(key, content, "application/octet-stream")
    return key


def screened(process: Process, world: World, **changes: Any) -> tuple[State | None, list[Any]]:
    """Where the video is afterwards, and what was said of its inputs."""
    tenant_id, planned = world.tenant(new_id().hex), world.planned()
    new = replace(planned, plan=replace(planned.plan, **changes))
    with world.database.transaction(tenant_id) as connection:
        videos.create(connection, tenant_id, new)
    after = run(process, world.must_claim(Stage.SCREEN))
    said = sa.text(
        "SELECT decision, model, scores FROM verdicts WHERE video_id = :id AND subject = 'input' ORDER BY id"
    )
    with world.database.transaction(tenant_id) as connection:
        return after, list(connection.execute(said, {"id": new.id}))


PLACES: dict[str, Callable[[str], Any]] = {
    "first_frame": lambda key: key,
    "last_frame": lambda key: key,
    "mask": lambda key: key,
    "keyframes": lambda key: (Keyframe(1.0, key),),
    "shots": lambda key: (Shot("a hill", 4, key),),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_picture_is_judged_wherever_it_is_named(screening: Screening, world: World, name: str) -> None:
    process = screening(REDNESS)
    for colour, expected, decision in ((GREY, State.QUEUED, "allow"), (RED, State.BLOCKED, "block")):
        after, said = screened(process, world, **{name: PLACES[name](picture(process, colour))})
        assert after is expected
        assert [(row.decision, row.model) for row in said] == [(decision, "redness 1")]


@pytest.mark.parametrize("name", ["source_clip", "characters"])
def test_a_clip_is_judged_by_its_worst_frame(screening: Screening, world: World, name: str) -> None:
    process = screening(REDNESS)
    for colours, expected in (((GREY, GREY), State.QUEUED), ((GREY, RED, GREY), State.BLOCKED)):
        key = clip(process, *colours)
        after, said = screened(process, world, **{name: (key,) if name == "characters" else key})
        assert after is expected
        assert len(said) == 1


def test_the_worst_of_all_inputs_decides(screening: Screening, world: World) -> None:
    process = screening(REDNESS)
    grey, rose, red = (picture(process, colour) for colour in (GREY, ROSE, RED))
    assert screened(process, world, first_frame=grey, last_frame=rose)[0] is State.HELD
    after, said = screened(process, world, first_frame=rose, last_frame=red, keyframes=(Keyframe(1.0, grey),))
    assert after is State.BLOCKED
    assert [row.decision for row in said] == ["review", "block", "allow"]
    assert said[1].scores["violence"] > 0.9


def test_what_cannot_be_judged_is_held_for_a_person(screening: Screening, world: World) -> None:
    process = screening("tests.fixtures.classifiers:Broken")
    tenant_id, planned = world.tenant("a"), world.planned()
    new = replace(planned, plan=replace(planned.plan, first_frame=picture(process, GREY)))
    with world.database.transaction(tenant_id) as connection:
        videos.create(connection, tenant_id, new)
    after = None
    for _ in range(10):
        after = run(process, world.must_claim(Stage.SCREEN))
        if after is State.HELD:
            break
        with world.database.transaction_for_any_tenant() as connection:
            connection.execute(sa.text("UPDATE videos SET run_at = now() WHERE id = :id"), {"id": new.id})
    assert after is State.HELD


def test_an_input_that_is_gone_ends_the_video(screening: Screening, world: World) -> None:
    after, said = screened(screening(REDNESS), world, first_frame="inputs/none.png")
    assert (after, said) == (State.FAILED, [])


def test_without_a_classifier_the_verdict_says_that_nobody_looked(screening: Screening, world: World) -> None:
    process = screening("")
    after, said = screened(process, world, first_frame=picture(process, RED))
    assert after is State.QUEUED
    assert [row.model for row in said] == ["none (no frame classifier configured)"]


def test_an_input_that_is_named_twice_is_judged_once(world: World) -> None:
    plan = replace(world.planned().plan, first_frame="a.png", last_frame="a.png", source_clip="b.mp4")
    assert inputs.keys(plan) == ("a.png", "b.mp4")


@pytest.mark.parametrize("named", ["tests.fixtures.classifiers", "tests.fixtures.none:X", "builtins:object"])
def test_a_classifier_that_cannot_be_loaded_lets_nothing_through(
    screening: Screening, world: World, named: str
) -> None:
    process = screening(named)
    after, said = screened(process, world, first_frame=picture(process, GREY))
    assert after is not State.QUEUED or not said
    with world.database.transaction_for_any_tenant() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM verdicts WHERE subject = 'input'")) == 0
