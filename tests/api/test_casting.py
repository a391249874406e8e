from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI

from domain import ids
from storage import videos
from tests.api.conftest import BASE, Tenant
from tests.api.encodings import ENCODINGS, Send
from tests.fixtures import media
from tests.fixtures.videos import World

VIDEO: dict[str, Any] = {"prompt": "MOSSY rolls down a hill", "model": "testcard", "size": "256x144"}


@pytest.fixture
def sdk(testcard: TestClient, tenant: Tenant) -> OpenAI:
    return OpenAI(api_key=tenant.key, base_url=BASE, http_client=testcard, max_retries=0)


@pytest.fixture
def mossy(sdk: OpenAI) -> str:
    made = sdk.videos.create_character(name="Mossy", video=("m.mp4", media.clip()))
    assert made.id is not None
    return made.id


@pytest.mark.parametrize("send", ENCODINGS.values(), ids=ENCODINGS)
def test_a_character_reaches_the_plan(
    testcard: TestClient, world: World, tenant: Tenant, mossy: str, send: Send
) -> None:
    answer = send(testcard, "/v1/videos", {**VIDEO, "characters": [{"id": mossy}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["characters"] == [{"id": mossy}]
    with world.database.transaction(tenant.id) as connection:
        video = videos.find(connection, tenant.id, ids.parse(ids.Kind.VIDEO, answer.json()["id"]))
    assert video is not None
    character_id = ids.parse(ids.Kind.CHARACTER, mossy)
    assert video.request.characters == (character_id,)
    assert video.plan.characters == (f"characters/{tenant.id.hex}/{character_id.hex}.mp4",)


def test_a_shot_may_mention_the_character(testcard: TestClient, mossy: str) -> None:
    values = {**VIDEO, "prompt": "a story", "characters": [{"id": mossy}]}
    unmentioned = testcard.post("/v1/videos", json=values)
    assert (unmentioned.status_code, unmentioned.json()["error"]["param"]) == (400, "characters")
    assert "'Mossy'" in unmentioned.json()["error"]["message"]
    shots = [{"prompt": "Mossy wakes", "seconds": 4}]
    assert testcard.post("/v1/videos", json={**values, "shots": shots}).status_code == 200


def test_nobody_elses_character_appears(testcard: TestClient, new_tenant: Callable[[str], Tenant], mossy: str) -> None:
    stranger = {"authorization": f"Bearer {new_tenant('bob').key}"}
    for character, headers in ((mossy, stranger), ("char_" + "0" * 32, {}), ("mossy", {})):
        answer = testcard.post("/v1/videos", json={**VIDEO, "characters": [{"id": character}]}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "character_not_found")


def test_a_character_appears_once_and_where_the_model_can_show_it(testcard: TestClient, mossy: str) -> None:
    twice = testcard.post("/v1/videos", json={**VIDEO, "characters": [{"id": mossy}] * 2})
    assert (twice.status_code, twice.json()["error"]["param"]) == (400, "characters")
    values = {**VIDEO, "model": "kinema-dit", "characters": [{"id": mossy}]}
    lacking = testcard.post("/v1/videos", json=values)
    assert (lacking.status_code, lacking.json()["error"]["code"]) == (400, "unsupported_parameter")


def test_uploaded_files_are_taken_wherever_a_picture_or_a_clip_is(testcard: TestClient, sdk: OpenAI) -> None:
    picture = sdk.files.create(file=("a.png", media.picture()), purpose="vision").id
    clip = sdk.files.create(file=("a.mp4", media.clip()), purpose="vision").id
    pictures = {
        "input_reference": {"file_id": picture},
        "last_frame": {"file_id": picture},
        "keyframes": [{"second": 1, "image": {"file_id": picture}}],
        "shots": [
            {"prompt": "a hill", "seconds": 2},
            {"prompt": "the sea", "seconds": 2, "reference": {"file_id": picture}},
        ],
    }
    derived = {"prompt": "at night", "model": "testcard", "video": {"file_id": clip}}
    for send in ENCODINGS.values():
        for path, values in (
            ("/v1/videos", {**VIDEO, **pictures}),
            ("/v1/videos/edits", {**derived, "mask": {"file_id": picture}}),
            ("/v1/videos/extensions", {**derived, "seconds": "4"}),
        ):
            answer = send(testcard, path, values)
            assert answer.status_code == 200, answer.text
    wrong = testcard.post("/v1/videos/edits", json={**derived, "video": {"file_id": picture}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "video")


def test_nobody_elses_file_is_taken(testcard: TestClient, sdk: OpenAI, new_tenant: Callable[[str], Tenant]) -> None:
    clip = sdk.files.create(file=("a.mp4", media.clip()), purpose="vision").id
    stranger = {"authorization": f"Bearer {new_tenant('bob').key}"}
    values = {"prompt": "x", "model": "testcard", "video": {"file_id": clip}}
    answer = testcard.post("/v1/videos/edits", json=values, headers=stranger)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "video")
