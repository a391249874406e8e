"""What code written for Sora does, with whatever `openai` this interpreter has. Run as a program; exits 0 or raises.

Environment: KINEMA_BASE_URL, KINEMA_API_KEY, KINEMA_OTHER_KEY (of another tenant). Needs nothing of Kinema.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

import openai

warnings.simplefilter("ignore", DeprecationWarning)

BASE_URL, KEY, OTHER_KEY = (os.environ[f"KINEMA_{name}"] for name in ("BASE_URL", "API_KEY", "OTHER_KEY"))
ASKED: dict[str, Any] = {"prompt": "bars", "model": "testcard", "size": "1280x720", "seconds": "4"}
PAGES = 3
PER_PAGE = 2


def client(key: str = KEY, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=BASE_URL, api_key=key, _strict_response_validation=True, **options)


def suite() -> None:
    videos = client().videos
    done = videos.create_and_poll(**ASKED)
    assert (done.status, done.progress, done.seconds, done.size) == ("completed", 100, "4", "1280x720"), done
    assert videos.retrieve(done.id).id == done.id
    magic = {"video": (4, b"ftyp"), "thumbnail": (8, b"WEBP"), "spritesheet": (0, b"\xff\xd8\xff")}
    for variant, (offset, expected) in magic.items():
        content = videos.download_content(done.id, variant=variant).content
        assert content[offset : offset + len(expected)] == expected, variant
    made = [videos.create(**ASKED).id for _ in range(PAGES * PER_PAGE - 1)]
    listed = [video.id for video in videos.list(limit=PER_PAGE)]
    assert listed[: PAGES * PER_PAGE] == [*reversed(made), done.id], listed
    refusals(done.id)
    for video_id in [*made, done.id]:
        deleted = videos.delete(video_id)
        assert deleted.deleted, deleted
        expect(openai.NotFoundError, lambda video_id=video_id: videos.retrieve(video_id))


def refusals(video_id: str) -> None:
    expect(openai.AuthenticationError, lambda: client("sk-wrong").videos.retrieve(video_id))
    for call in ("retrieve", "delete", "download_content"):
        expect(openai.NotFoundError, lambda call=call: getattr(client(OTHER_KEY).videos, call)(video_id))
    assert video_id not in [video.id for video in client(OTHER_KEY).videos.list()]
    error = expect(openai.BadRequestError, lambda: client().videos.create(**{**ASKED, "size": "1x1"}))
    assert "Invalid value: '1x1'. Supported values are: " in error.message, error.message
    assert error.param == "size", error.param
    assert error.request_id, "every answer carries x-request-id"


def expect(kind: type[Any], call: Any) -> Any:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


async def asynchronous_suite() -> None:
    videos = openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, _strict_response_validation=True).videos
    done = await videos.create_and_poll(**ASKED)
    assert done.status == "completed", done
    assert (await videos.retrieve(done.id)).id == done.id
    assert (await videos.download_content(done.id)).content[4:8] == b"ftyp"
    listed = [video.id async for video in videos.list(limit=1)]
    assert done.id in listed
    assert (await videos.delete(done.id)).deleted


if __name__ == "__main__":
    suite()
    asyncio.run(asynchronous_suite())
    print(f"openai {openai.__version__}: all good")
