from __future__ import annotations

from openai import OpenAI


def test_a_prompt_is_enough(client: OpenAI) -> None:
    video = client.videos.create(prompt="a red ball rolls left")
    assert video.id.startswith("video_")
    assert (video.object, video.status, video.progress) == ("video", "queued", 0)
    assert (video.model, video.seconds, video.size) == ("sora-2", "4", "720x1280")
    assert client.videos.retrieve(video.id).prompt == "a red ball rolls left"
