from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai import BadRequestError, NotFoundError, OpenAI

from domain import ids
from storage import characters
from storage.database import Database
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.fixtures import media


def test_a_character_is_kept_and_found(
    client: OpenAI, database: Database, object_store: ObjectStore, tenant: Tenant
) -> None:
    made = client.videos.create_character(name=" Mossy ", video=("m.mp4", media.clip(sound=True)))
    assert made.id is not None
    assert made.id.startswith("char_")
    assert (made.name, made.model_extra) == ("Mossy", {"object": "character"})
    assert client.videos.get_character(made.id).to_dict() == made.to_dict()
    with database.transaction(tenant.id) as connection:
        found = characters.find(connection, tenant.id, ids.parse(ids.Kind.CHARACTER, made.id))
    assert found is not None
    assert found.facts == {"width": 256, "height": 144, "seconds": 1.0, "fps": 24.0}
    assert object_store.read(found.object_key)[4:8] == b"ftyp"


def test_an_uploaded_clip_may_be_the_character(client: OpenAI) -> None:
    file = client.files.create(file=("m.mp4", media.clip()), purpose="vision")
    body = {"name": "Mossy", "video": {"file_id": file.id}}
    made = client.post("/videos/characters", body=body, cast_to=dict[str, Any])
    assert made["name"] == "Mossy"


def test_another_tenant_s_character_is_none(
    client: OpenAI, new_tenant: Callable[[str], Tenant], client_of: Callable[..., OpenAI]
) -> None:
    made = client.videos.create_character(name="Mossy", video=("m.mp4", media.clip()))
    assert made.id is not None
    for character_id in (made.id, "char_1", "video_" + "0" * 32):
        with pytest.raises(NotFoundError) as refused:
            client_of(new_tenant("bob")).videos.get_character(character_id)
        assert refused.value.code == "character_not_found"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"video": {"file_id": "file_1"}}, "name", "missing_required_parameter"),
        ({"name": "Mossy"}, "video", "missing_required_parameter"),
        ({"name": "", "video": {"file_id": "file_1"}}, "name", "invalid_value"),
        ({"name": "x" * 81, "video": {"file_id": "file_1"}}, "name", "invalid_value"),
        ({"name": 5, "video": {"file_id": "file_1"}}, "name", "invalid_type"),
        ({"name": "Mossy", "video": "/etc/passwd"}, "video", "invalid_type"),
        ({"name": "Mossy", "video": {"path": "/etc/passwd"}}, "video", "invalid_value"),
        ({"name": "Mossy", "video": {"image_url": "file:///etc/passwd"}}, "video", "invalid_value"),
        ({"name": "Mossy", "video": {"file_id": "file_1"}, "voice": "x"}, "voice", "unknown_parameter"),
    ],
)
def test_other_characters_are_refused(http: TestClient, body: dict[str, Any], param: str, code: str) -> None:
    answer = http.post("/v1/videos/characters", json=body)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


def test_a_clip_that_is_too_long_or_none_is_refused(client: OpenAI) -> None:
    for content, message in [
        (media.clip(seconds=5, rate=10), "too long: at most 4 seconds"),
        (media.picture(), "could not be read"),
        (media.clip()[:900], "could not be read"),
    ]:
        with pytest.raises(BadRequestError, match=message) as refused:
            client.videos.create_character(name="Mossy", video=("m.mp4", content))
        assert refused.value.param == "video"
    long = client.files.create(file=("m.mp4", media.clip(seconds=5, rate=10)), purpose="vision")
    with pytest.raises(BadRequestError, match="too long"):
        client.post("/videos/characters", body={"name": "M", "video": {"file_id": long.id}}, cast_to=dict[str, Any])


def test_a_video_that_is_not_there_or_not_ready_is_no_character(client: OpenAI) -> None:
    def send(video_id: str) -> None:
        client.post("/videos/characters", body={"name": "M", "video": {"id": video_id}}, cast_to=dict[str, Any])

    with pytest.raises(NotFoundError):
        send("video_" + "0" * 32)
    waiting = client.videos.create(prompt="a ball", size="256x144")
    with pytest.raises(BadRequestError, match="must be completed"):
        send(waiting.id)
