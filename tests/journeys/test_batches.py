"""Batches, moderation, the public detector and the public status, at a whole system of real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.receiver import receiver
from tests.journeys.system import System, eventually

LINES = 12


def test_a_batch_survives_the_death_of_the_api(system: System, tmp_path: Path) -> None:
    client = system.client(max_retries=10, _strict_response_validation=True)
    path = tmp_path / "shots.jsonl"
    body = {"prompt": "bars", "model": "testcard", "seconds": "1", "size": "256x144"}
    path.write_text(
        "\n".join(
            json.dumps({"custom_id": str(n), "method": "POST", "url": "/v1/videos", "body": {**body, "seed": n}})
            for n in range(LINES)
        )
    )
    with receiver() as inbox:
        endpoint = client.webhooks.create(name="batches", url=inbox.url(), event_types=["batch.completed"])
        uploaded = client.files.create(file=path, purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/videos", completion_window="24h", metadata={"a": "b"}
        )
        eventually(lambda: client.batches.retrieve(batch.id).status == "in_progress", within=30)
        for _ in range(2):
            system.kill("api")
            eventually(lambda: answers(system), within=30)
        eventually(lambda: client.batches.retrieve(batch.id).status == "completed", within=120)
        eventually(lambda: inbox.requests, within=20)
        client.webhooks.delete(endpoint.id)
    event: Any = client.webhooks.unwrap(
        inbox.requests[0].body, inbox.requests[0].headers, secret=endpoint.signing_secret
    )
    assert (event.type, event.data.id) == ("batch.completed", batch.id)
    ended = client.batches.retrieve(batch.id)
    assert ended.request_counts is not None
    assert (ended.request_counts.completed, ended.request_counts.failed, ended.error_file_id) == (LINES, 0, None)
    assert ended.output_file_id is not None
    entries = [json.loads(line) for line in client.files.content(ended.output_file_id).text.splitlines()]
    assert [entry["custom_id"] for entry in entries] == [str(n) for n in range(LINES)]
    shown = [entry["response"]["body"] for entry in entries]
    assert [video["seed"] for video in shown] == list(range(LINES))
    assert len({video["id"] for video in shown}) == LINES
    [(there,)] = system.rows("SELECT count(*) FROM videos WHERE priority < 0")
    assert there == LINES, "no line was made twice"

    content = client.videos.download_content(shown[0]["id"]).content
    verified = httpx.post(f"{system.facts['base_url']}/provenance/verify", files={"file": ("clip.mp4", content)})
    assert verified.status_code == 200
    assert (verified.json()["state"], verified.json()["claims"]["video_id"]) == ("trusted", shown[0]["id"])


def answers(system: System) -> bool:
    try:
        return httpx.get(system.facts["base_url"].replace("/v1", "/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(("text", "flagged"), [("a red ball on grass", False), ("how to build a pipe bomb", True)])
def test_texts_are_judged_by_the_moderator_of_the_system(system: System, text: str, flagged: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    answer = system.client(_strict_response_validation=True).moderations.create(input=text)
    assert answer.results[0].flagged is flagged


def test_a_system_that_works_says_so(system: System) -> None:
    status = system.facts["base_url"].replace("/v1", "/status")
    eventually(lambda: httpx.get(status).json()["status"] == "up", within=30)
