"""Lines 3 and 4: the first frame, as a file and as a reference."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, Stage, expect

TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def picture(stage: Stage, name: str) -> bytes:
    """One of the pictures that the venue has drawn, by its file's name."""
    return (Path(stage.facts["pictures"]) / name).read_bytes()


@line(3)
def a_picture_of_the_videos_size_begins_it(stage: Stage) -> None:
    for kind, content_type in TYPES.items():
        upload = (f"first.{kind}", picture(stage, f"fits.{kind}"), content_type)
        made = stage.videos.create(**BARS, input_reference=upload)
        assert made.status == "queued"
        stage.complete(made)
        stage.videos.delete(made.id)


@line(3)
def a_picture_of_another_size_is_refused(stage: Stage) -> None:
    upload = ("first.png", picture(stage, "other.png"), "image/png")
    error = expect(openai.BadRequestError, lambda: stage.videos.create(**BARS, input_reference=upload))
    assert "Inpaint image must match the requested width and height" in error.message
    assert error.type == "invalid_request_error"
    for junk in (b"", b"not a picture", picture(stage, "fits.png")[:200]):
        expect(
            openai.BadRequestError,
            lambda junk=junk: stage.videos.create(**BARS, input_reference=("first.png", junk, "image/png")),
        )


def create_from(stage: Stage, reference: dict[str, Any]) -> Any:
    """The Python client's own argument for it raises before anything is sent; this form arrives."""
    return stage.videos.create(**BARS, extra_body={"input_reference": reference})


@line(4)
def a_data_url_is_a_picture(stage: Stage) -> None:
    encoded = base64.b64encode(picture(stage, "fits.png")).decode()
    for as_json in ({}, {"Content-Type": "application/json"}):
        reference = {"image_url": f"data:image/png;base64,{encoded}"}
        made = stage.videos.create(**BARS, extra_body={"input_reference": reference}, extra_headers=as_json)
        stage.complete(made)
        stage.videos.delete(made.id)
