"""Lines 3 and 4: the first frame, as a file and as a reference."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai

from tests.fixtures.receiver import receiver
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
        if kind == "jpeg":
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
        stage.videos.delete(made.id)


@line(4)
def an_uploaded_file_is_a_picture(stage: Stage) -> None:
    client = stage.client()
    upload = ("first.png", picture(stage, "fits.png"), "image/png")
    kept = client.files.create(file=upload, purpose="vision")
    made = create_from(stage, {"file_id": kept.id})
    stage.videos.delete(made.id)
    theirs = {"input_reference": {"file_id": kept.id}}
    expect(openai.NotFoundError, lambda: stage.client("other").videos.create(**BARS, extra_body=theirs))
    client.files.delete(kept.id)
    expect(openai.NotFoundError, lambda: create_from(stage, {"file_id": kept.id}))


@line(4)
def an_http_url_is_fetched(stage: Stage) -> None:
    """From this machine, which `kinema up` allows and production does not."""
    with receiver((200, {"content-type": "image/png"}, picture(stage, "fits.png")), (404, {}, b"")) as outside:
        made = create_from(stage, {"image_url": outside.url("/first.png")})
        missing = expect(openai.BadRequestError, lambda: create_from(stage, {"image_url": outside.url("/none.png")}))
    assert (missing.param or "").startswith("input_reference"), missing.param
    stage.complete(made)
    stage.videos.delete(made.id)


@line(4)
def an_address_that_is_nobodys_business_is_not(stage: Stage) -> None:
    for url in ("https://10.0.0.1/a.png", "http://[::ffff:192.168.0.1]/a.png", "https://169.254.169.254/", "ftp://a/b"):
        error = expect(openai.BadRequestError, lambda url=url: create_from(stage, {"image_url": url}))
        assert (error.param or "").startswith("input_reference"), error.param
