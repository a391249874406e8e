"""Lines 8 and 9: lists, and the walls between tenants."""

from __future__ import annotations

import openai

from tests.journeys.conformance.checklist import line
from tests.journeys.conformance.stage import BARS, Stage, expect

PAGES = 3
PER_PAGE = 2


@line(8)
def lists_page_by_themselves(stage: Stage) -> None:
    videos = stage.client("lister").videos
    made = [videos.create(**BARS, extra_body={"steps": 1500}).id for _ in range(PAGES * PER_PAGE)]
    newest_first = made[::-1]
    with stage.counted() as exchanges:
        assert [video.id for video in videos.list(limit=PER_PAGE)] == newest_first
    assert len(exchanges) == PAGES, "three pages, and no request for an empty fourth"
    assert [video.id for video in videos.list(order="asc")] == made
    assert [video.id for video in videos.list(order="desc")] == newest_first
    page = videos.list(limit=PER_PAGE, after=made[3])
    assert [video.id for video in page.data] == [made[2], made[1]]
    assert page.has_more
    assert page.last_id == made[1]
    assert list(videos.list(limit=PER_PAGE, after=made[0])) == []
    assert videos.list(limit=0).data == []
    expect(openai.BadRequestError, lambda: videos.list(limit=101).data)
    theirs = [video.id for video in stage.client("other").videos.list()]
    assert not set(theirs) & set(made), "another tenant sees none of them"
    for video_id in made:
        videos.delete(video_id)
    assert list(videos.list()) == []


@line(9)
def another_tenants_video_does_not_exist(stage: Stage) -> None:
    video_id = stage.finished.id
    others = stage.client("other")
    calls = {
        "retrieve": lambda: others.videos.retrieve(video_id),
        "delete": lambda: others.videos.delete(video_id),
        "content": lambda: others.videos.download_content(video_id),
        "thumbnail": lambda: others.videos.download_content(video_id, variant="thumbnail"),
        "remix": lambda: others.videos.remix(video_id, prompt="stripes"),
        "cancel": lambda: others.post(f"/videos/{video_id}/cancel", cast_to=object),
        "poll": lambda: others.videos.poll(video_id),
    }
    messages = set()
    for call in calls.values():
        error = expect(openai.NotFoundError, call)
        messages.add(error.message.replace(video_id, "ID"))
    unknown = expect(openai.NotFoundError, lambda: others.videos.retrieve(video_id[:-4] + "0000"))
    assert unknown.message.replace(video_id[:-4] + "0000", "ID") in messages, "as if it had never been"
    assert stage.videos.retrieve(video_id).id == video_id
