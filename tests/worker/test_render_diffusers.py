from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import av
import pytest
import sqlalchemy as sa

from domain import catalogue
from domain.lifecycle import Stage, State
from domain.video import Request, Size
from runtime.settings import Settings
from storage import outputs, videos
from storage.tables import attempts
from tests.fixtures import pipelines
from tests.fixtures.videos import QUEUES, World
from worker.pipeline.work import run
from worker.process import Process

ENTRY = """
[[model]]
name = "tiny-wan"
engine = "diffusers"
path = "tiny-wan"
pool = "small"
aliases = ["sora-2"]
seconds = [1]
fps = 24
rendered_fps = 12
steps = [1, 2, 50]
guidance = 3.0
capabilities = ["text", "video", "negative_prompt"]
price_micros = 1
cost_ms = 1

[model.sizes]
"128x72" = "64x36"

[model.options]
attention = ["sage", "native"]
"""


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[Process]:
    pipelines.wan().save_pretrained(tmp_path / "tiny-wan")
    (tmp_path / "models.toml").write_text(ENTRY)
    made = Process(replace(settings, models_file=str(tmp_path / "models.toml")), (QUEUES[Stage.RENDER],))
    yield made
    made.ringer.stop()
    made.database.close()


def queued(process: Process, world: World, tenant: UUID) -> UUID:
    entry = process.catalogue.find("sora-2")
    request = Request("sora-2", "a red ball rolls left", 1, Size(128, 72), seed=7, negative_prompt="blue")
    new = replace(world.planned(), request=request, plan=catalogue.plan(request, entry))
    with world.database.transaction(tenant) as connection:
        videos.create(connection, tenant, new)
    world.advance(Stage.SCREEN)
    return new.id


def test_a_model_of_diffusers_renders_behind_the_queue(process: Process, world: World, tmp_path: Path) -> None:
    tenant = world.tenant()
    drafts: list[bytes] = []
    for _ in range(2):
        queued(process, world, tenant)
        lease = world.must_claim(Stage.RENDER)
        assert run(process, lease) is State.RENDERED
        drafts.append(process.store.read(outputs.drafts_of(lease, lease.fence)[outputs.Kind.VIDEO]))
    assert drafts[0] == drafts[1], "same seed, same build, same bytes"
    (tmp_path / "draft.mp4").write_bytes(drafts[0])
    with av.open(str(tmp_path / "draft.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.frames) == ("h264", 128, 72, 24)
    with world.database.transaction(tenant) as connection:
        timings = connection.scalars(sa.select(attempts.c.timings).where(attempts.c.outcome == "done")).all()
    told = next(each for each in timings if each and "engine" in each)
    assert len(told["checkpoint"]) == 64
    assert told["engine"]["pipeline"] == "WanPipeline"
    assert told["engine"]["attention"] == "native"
    assert "attention=sage" in told["engine"]["left_out"]
    assert (told["engine"]["drawn"], told["engine"]["drawn_frames"]) == ("64x48", [13])
