"""What each kind of far end is told."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from domain.video import Keyframe, Operation, Plan, Size
from engines.encode import encode
from engines.footage import Footage
from engines.protocol import Conditions, Step, Unrenderable
from engines.testcard import TestcardEngine, bars
from tests.engines.upstream import far_end as far
from tests.engines.upstream.driving import PLAN, TICKET, engine, render
from tests.engines.upstream.far_end import far_end


@pytest.mark.parametrize("dialect", ["vllm-omni", "sglang", "openai"])
def test_every_dialect_draws_the_plan(dialect: str) -> None:
    plan = replace(PLAN, rendered_fps=24, fps=24) if dialect == "openai" else PLAN
    with far_end(dialect) as server:
        frames, steps = render(engine(server), plan)
        assert server.jobs == {}, "nothing of ours stays there"
    assert frames.shape == (plan.rendered_frames, 64, 96, 3)
    assert steps[-1] == Step("decode", plan.rendered_frames, plan.rendered_frames)


def test_vllm_omni_is_told_everything_it_takes() -> None:
    with far_end("vllm-omni") as server:
        made = engine(server, model="Wan-AI/Wan2.2", fields={"flow_shift": 5.0}, frames_multiple=4, frames_plus=1)
        frames, _ = render(made, replace(PLAN, negative_prompt="rain"))
        (asked,) = server.of("POST")
    assert asked.fields == {
        "prompt": "bars",
        "model": "Wan-AI/Wan2.2",
        "width": "96",
        "height": "64",
        "num_frames": "17",
        "fps": "8",
        "num_inference_steps": "4",
        "guidance_scale": "2.5",
        "seed": "3",
        "negative_prompt": "rain",
        "flow_shift": "5.0",
        "user": "0a1b-7",
    }
    assert asked.headers["idempotency-key"] == "0a1b-7"
    assert len(frames) == 16, "the surplus is cut"


def test_sglang_gets_json_and_with_a_picture_a_form() -> None:
    first_HWC = bars(Size(48, 32), 1)
    with far_end("sglang") as server:
        render(engine(server))
        render(engine(server), conditions=replace(TICKET, first_frame_HWC=first_HWC))
        plain, pictured = server.of("POST")
    assert plain.headers["content-type"] == "application/json"
    assert (plain.fields["num_frames"], plain.fields["num_inference_steps"], plain.files) == (16, 4, {})
    assert json.loads(pictured.fields["extra_body"])["guidance_scale"] == 2.5
    sent_HWC = far.picture(pictured.files["input_reference"])
    assert sent_HWC.shape == (64, 96, 3), "brought to the size that is drawn"


def test_what_the_operator_adds_never_replaces_the_plan() -> None:
    with far_end() as server:
        render(engine(server, fields={"seed": 99, "boundary_ratio": 0.9}))
        (asked,) = server.of("POST")
    assert (asked.fields["seed"], asked.fields["boundary_ratio"]) == ("3", "0.9")


def test_kinema_is_told_the_conditions_as_data_urls() -> None:
    picture_HWC = bars(PLAN.rendered, 1)
    plan = replace(PLAN, style="noir", motion_intensity=0.3, keyframes=(Keyframe(1.0, "key"),))
    conditions = replace(TICKET, last_frame_HWC=picture_HWC, keyframes=((1.0, picture_HWC),))
    with far_end("kinema") as server:
        render(engine(server), plan, conditions)
        (asked,) = server.of("POST")
    assert "fps" not in asked.fields, "unless the model takes it"
    (keyframe,) = json.loads(asked.fields["keyframes"])
    assert keyframe["image"]["image_url"].startswith("data:image/png;base64,")
    assert json.loads(asked.fields["metadata"]) == {"upstream_ticket": "0a1b-7"}
    assert (asked.fields["style"], asked.fields["motion_intensity"]) == ("noir", "0.3")
    assert list(asked.files) == ["last_frame"]


def source_of(plan: Plan, folder: Path) -> Footage:
    """A card whose colours are turned, so that it is told from what the far end draws."""
    chunks = TestcardEngine().render(plan, Conditions(), lambda _: None)
    return Footage(encode(chunks, plan, folder, lambda *_: None).video)


def test_kinema_is_sent_the_source_of_an_edit(tmp_path: Path) -> None:
    source = source_of(replace(PLAN, delivered=Size(192, 128), fps=16, seed=5), tmp_path)
    plan = replace(PLAN, operation=Operation.EDIT, source_clip="key", source_seconds=2.0, strength=0.4, mask="key")
    mask_HW = np.zeros((64, 96), np.uint8)
    with far_end("kinema") as server:
        frames, _ = render(engine(server), plan, replace(TICKET, source=source, mask_HW=mask_HW))
        (asked,) = server.of("POST", "/videos/edits")
    assert len(frames) == 16
    assert not {"size", "seconds", "fps"} & set(asked.fields), "an edit has its clip's"
    assert (asked.fields["strength"], set(asked.files)) == ("0.4", {"video", "mask"})
    with av.open(io.BytesIO(asked.files["video"])) as container:
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    assert (len(pictures), pictures[0].shape) == (16, (64, 96, 3)), "at the size and rate that are drawn"
    off = np.abs(pictures[0].astype(int) - bars(plan.rendered, 5))
    assert np.median(off[:10]) <= 6


def test_of_an_extension_only_the_new_frames_are_taken(tmp_path: Path) -> None:
    source = source_of(replace(PLAN, seconds=1), tmp_path)
    plan = replace(PLAN, operation=Operation.EXTEND, source_clip="key", source_seconds=1.0)
    with far_end("kinema") as server:
        extended, _ = render(engine(server), plan, replace(TICKET, source=source))
        (asked,) = server.of("POST", "/videos/extensions")
        server.wrong.fps, server.wrong.frames = 8, 24
        whole, _ = render(engine(server), replace(PLAN, seconds=3))
    assert (asked.fields["seconds"], len(extended)) == ("2", 16)
    assert np.abs(extended.astype(int) - whole[8:]).mean() < 2


def test_an_extension_that_is_not_longer_is_an_error(tmp_path: Path) -> None:
    source = source_of(replace(PLAN, seconds=1), tmp_path)
    plan = replace(PLAN, operation=Operation.EXTEND, source_clip="key", source_seconds=1.0)
    with far_end("kinema") as server:
        server.wrong.frames = 8
        with pytest.raises(Unrenderable, match="0 of 16"):
            render(engine(server), plan, replace(TICKET, source=source))


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.EDIT])
def test_a_kinema_that_takes_a_rate_is_told_it(operation: Operation, tmp_path: Path) -> None:
    source = source_of(PLAN, tmp_path) if operation is Operation.EDIT else None
    plan = replace(PLAN, operation=operation, source_clip=source and "key", source_seconds=2.0)
    with far_end("kinema") as server:
        render(engine(server, capabilities=frozenset({"fps"})), plan, replace(TICKET, source=source))
        (asked,) = server.of("POST")
    assert asked.fields["fps"] == "8"
