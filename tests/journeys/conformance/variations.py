"""Lines 12, 13 and 14: videos made from videos."""

from __future__ import annotations

import io
from typing import Any

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, MODEL, SIZE, Stage, expect


@line(12)
def a_remix_has_the_same_settings_and_another_prompt(stage: Stage) -> None:
    source = stage.finished.id
    with stage.counted() as exchanges:
        remix = stage.videos.remix(source, prompt="stripes")
    assert exchanges[0].sent["content-type"] == "application/json"
    assert (remix.remixed_from_video_id, remix.prompt) == (stage.finished.id, "stripes")
    assert (remix.model, remix.size, remix.seconds) == (MODEL, SIZE, "4")
    done = stage.complete(remix)
    assert stage.videos.download_content(done.id).content[4:8] == b"ftyp"
    stage.videos.delete(done.id)


def upload(stage: Stage) -> tuple[str, io.BytesIO, str]:
    """The finished video as a file of the client's."""
    return ("clip.mp4", io.BytesIO(stage.videos.download_content(stage.finished.id).content), "video/mp4")


def end(stage: Stage, made: Any, seconds: str, parent: str | None, *, rendered: bool = False) -> None:
    """The video has the source's size and is as long as it should be; where asked for, it completes."""
    assert (made.size, made.seconds) == (SIZE, seconds), made
    assert made.remixed_from_video_id == parent
    if rendered:
        stage.complete(made)
    stage.videos.delete(made.id)


@line(13)
def an_edit_takes_a_file_an_id_or_json(stage: Stage) -> None:
    source, client = stage.finished.id, stage.client()
    by_file = client.videos.edit(prompt="stripes", video=upload(stage), extra_body={"model": MODEL})
    by_id = client.videos.edit(prompt="stripes", video=openai.omit, extra_body={"video": {"id": source}})
    by_json = client.post("/videos/edits", body={"prompt": "stripes", "video": {"id": source}}, cast_to=type(by_id))
    end(stage, by_file, "4", None, rendered=True)
    end(stage, by_id, "4", source)
    end(stage, by_json, "4", source)


@line(13)
def an_extension_takes_a_file_an_id_or_json(stage: Stage) -> None:
    source, client = stage.finished.id, stage.client()
    by_file = client.videos.extend(prompt="more bars", seconds="4", video=upload(stage), extra_body={"model": MODEL})
    by_id = client.videos.extend(
        prompt="more bars", seconds="4", video=openai.omit, extra_body={"video": {"id": source}}
    )
    body = {"prompt": "more bars", "seconds": "4", "video": {"id": source}}
    by_json = client.post("/videos/extensions", body=body, cast_to=type(by_id))
    end(stage, by_file, "8", None)
    end(stage, by_id, "8", source, rendered=True)
    end(stage, by_json, "8", source)


@line(13)
def what_is_not_finished_cannot_be_a_source(stage: Stage) -> None:
    client = stage.client()
    unfinished = client.videos.create(**BARS, extra_body={"steps": 1500})
    source = {"video": {"id": unfinished.id}}
    expect(
        openai.BadRequestError,
        lambda: client.videos.edit(prompt="stripes", video=openai.omit, extra_body=source),
    )
    expect(
        openai.BadRequestError,
        lambda: client.videos.extend(prompt="more bars", seconds="4", video=openai.omit, extra_body=source),
    )
    expect(openai.BadRequestError, lambda: client.videos.remix(unfinished.id, prompt="stripes"))
    client.videos.delete(unfinished.id)
    other = stage.client("other").videos
    foreign = {"video": {"id": stage.finished.id}}
    expect(openai.NotFoundError, lambda: other.edit(prompt="x", video=openai.omit, extra_body=foreign))
    expect(openai.NotFoundError, lambda: other.extend(prompt="x", seconds="4", video=openai.omit, extra_body=foreign))


@line(14)
def a_character_is_made_read_and_used(stage: Stage) -> None:
    client = stage.client()
    made = client.videos.create_character(name="Bo", video=upload(stage))
    assert made.name == "Bo"
    assert made.created_at > 0
    assert client.videos.get_character(made.id).id == made.id
    expect(openai.NotFoundError, lambda: stage.client("other").videos.get_character(made.id))
    cast = {"characters": [{"id": made.id}]}
    video = client.videos.create(**{**BARS, "prompt": "Bo among bars"}, extra_body=cast)
    stage.complete(video)
    client.videos.delete(video.id)
    nobody = {"characters": [{"id": "char_00000000000000000000000000000000"}]}
    expect(openai.APIStatusError, lambda: client.videos.create(**{**BARS, "prompt": "Bo"}, extra_body=nobody))
    unnamed = expect(openai.BadRequestError, lambda: client.videos.create(**BARS, extra_body=cast))
    assert "Bo" in unnamed.message
