"""Lines 1, 2 and 5: a create in its three encodings."""

from __future__ import annotations

from typing import Any

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, MODEL, SIZE, Stage

EXTRAS: dict[str, Any] = {"seed": 7, "steps": 4, "guidance": 1.5, "metadata": {"order": "17", "shelf": "b"}}


@line(1)
def a_prompt_is_enough(stage: Stage) -> None:
    client = stage.client()
    with stage.counted() as exchanges:
        made = client.videos.create(prompt="bars")
    assert exchanges[0].sent["content-type"].startswith("multipart/form-data")
    assert (made.object, made.status, made.progress) == ("video", "queued", 0)
    assert (made.model, made.seconds, made.size) == ("sora-2", "4", "720x1280"), "OpenAI's defaults"
    assert made.prompt == "bars"
    assert client.videos.delete(made.id).deleted


@line(2)
def all_fields_and_ours_beside_them(stage: Stage) -> None:
    made = stage.videos.create(**BARS, extra_body=EXTRAS)
    assert (made.model, made.seconds, made.size) == (MODEL, "4", SIZE)
    assert (made.seed, made.metadata) == (7, {"order": "17", "shelf": "b"})
    same = stage.videos.retrieve(made.id)
    assert (same.seed, same.metadata) == (made.seed, made.metadata)
    assert same.usage["price_micros"] > 0, "unknown fields survive as attributes"
    stage.videos.delete(made.id)


@line(5)
def a_json_body_says_the_same(stage: Stage) -> None:
    as_json = {"extra_headers": {"Content-Type": "application/json"}}
    with stage.counted() as exchanges:
        made = stage.videos.create(**BARS, extra_body=EXTRAS, **as_json)
        raw = stage.client().post("/videos", body={**BARS, "seconds": 4, **EXTRAS}, cast_to=object)
    assert [exchange.sent["content-type"] for exchange in exchanges] == ["application/json"] * 2
    assert (made.seed, made.metadata, made.seconds) == (7, EXTRAS["metadata"], "4")
    assert {name: raw[name] for name in ("seed", "metadata", "seconds", "size")} == {
        "seed": 7,
        "metadata": EXTRAS["metadata"],
        "seconds": "4",
        "size": SIZE,
    }
    for video_id in (made.id, raw["id"]):
        stage.videos.delete(video_id)
