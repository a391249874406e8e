"""Lines 10 and 11: deleting in every state, and downloading."""

from __future__ import annotations

import time

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, REFUSED_LATER, Stage, expect

MAGIC = {"video": (4, b"ftyp"), "thumbnail": (8, b"WEBP"), "spritesheet": (0, b"\xff\xd8\xff")}
TYPES = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
MANY_STEPS = {"steps": 1500}  # more than a minute of work


@line(10)
def a_video_can_be_deleted_in_every_state(stage: Stage) -> None:
    videos = stage.client("deleter").videos
    completed = videos.create_and_poll(**BARS, poll_interval_ms=200)
    failed = videos.create_and_poll(**{**BARS, "prompt": REFUSED_LATER}, poll_interval_ms=200)
    running = videos.create(**BARS, extra_body=MANY_STEPS)
    _until(stage, running.id, "in_progress")
    queued = videos.create(**BARS, extra_body=MANY_STEPS)
    states = {video.id: videos.retrieve(video.id).status for video in (completed, failed, running, queued)}
    assert list(states.values()) == ["completed", "failed", "in_progress", "queued"], states
    for video_id in states:
        gone = videos.delete(video_id)
        assert (gone.id, gone.object, gone.deleted) == (video_id, "video.deleted", True)
        expect(openai.NotFoundError, lambda video_id=video_id: videos.retrieve(video_id))
        expect(openai.NotFoundError, lambda video_id=video_id: videos.download_content(video_id))
        expect(openai.NotFoundError, lambda video_id=video_id: videos.delete(video_id))


@line(11)
def every_variant_comes_whole(stage: Stage) -> None:
    source = stage.finished.id
    for variant, (offset, magic) in MAGIC.items():
        with stage.counted() as exchanges:
            content = stage.videos.download_content(source, variant=variant).content
        assert content[offset : offset + len(magic)] == magic, variant
        assert [exchange.status for exchange in exchanges] == [200]
        assert exchanges[0].headers["content-type"] == TYPES[variant]
        assert int(exchanges[0].headers["content-length"]) == len(content)
    error = expect(openai.BadRequestError, lambda: stage.videos.download_content(stage.finished.id, variant="poster"))
    assert error.param == "variant"


@line(11)
def a_redirect_leads_to_the_same_bytes_without_our_key(stage: Stage) -> None:
    direct = stage.videos.download_content(stage.finished.id).content
    with stage.counted() as exchanges:
        redirected = stage.client(at="redirecting_url").videos.download_content(stage.finished.id).content
    assert [exchange.status for exchange in exchanges] == [302, 200]
    assert "authorization" in exchanges[0].sent
    assert "authorization" not in exchanges[1].sent
    assert exchanges[1].url.startswith(stage.facts["public_url"])
    assert redirected == direct


@line(11)
def a_range_is_a_part(stage: Stage) -> None:
    whole = stage.videos.download_content(stage.finished.id).content
    for url in ("base_url", "redirecting_url"):
        part = stage.client(at=url).videos.download_content(stage.finished.id, extra_headers={"Range": "bytes=100-199"})
        assert part.content == whole[100:200]
        assert part.response.status_code == 206
        assert part.response.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    beyond = {"extra_headers": {"Range": f"bytes={len(whole)}-"}}
    error = expect(openai.APIStatusError, lambda: stage.videos.download_content(stage.finished.id, **beyond))
    assert error.status_code == 416


@line(11)
def nothing_unfinished_or_failed_has_content(stage: Stage) -> None:
    unfinished = stage.videos.create(**BARS, extra_body=MANY_STEPS)
    expect(openai.NotFoundError, lambda: stage.videos.download_content(unfinished.id))
    stage.client().post(f"/videos/{unfinished.id}/cancel", cast_to=object)
    expect(openai.NotFoundError, lambda: stage.videos.download_content(unfinished.id))
    stage.videos.delete(unfinished.id)


@line(11)
def an_expired_video_is_gone_with_its_content(stage: Stage) -> None:
    videos = stage.client("brief").videos
    done = videos.create_and_poll(**BARS, poll_interval_ms=200)
    assert done.expires_at == done.completed_at + stage.facts["brief_seconds"]
    begun = time.monotonic()
    while done.id in [video.id for video in videos.list()]:
        assert time.monotonic() - begun < 30, "it never expires"
        time.sleep(0.25)
    expect(openai.NotFoundError, lambda: videos.download_content(done.id))
    expect(openai.NotFoundError, lambda: videos.retrieve(done.id))


def _until(stage: Stage, video_id: str, status: str) -> None:
    videos, begun = stage.client("deleter").videos, time.monotonic()
    while videos.retrieve(video_id).status != status:
        assert time.monotonic() - begun < 60, f"never {status}"
        time.sleep(0.1)
