from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import av
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import FileObject
from PIL import Image

from domain import ids
from storage.database import Database
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.fixtures import media

LINES = b'{"custom_id": "1", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a ball"}}\n'


def upload(client: OpenAI, content: bytes, purpose: Any = "vision", name: str = "a.png", **more: Any) -> FileObject:
    return client.files.create(file=(name, content), purpose=purpose, **more)


def test_a_picture_is_kept_as_pixels_alone(client: OpenAI) -> None:
    made = upload(client, media.picture("JPEG", comment=b"the secret"), name="holiday.jpg")
    assert made.id.startswith("file_")
    assert (made.object, made.filename, made.purpose, made.status) == ("file", "holiday.jpg", "vision", "processed")
    assert made.expires_at is None
    content = client.files.content(made.id)
    assert content.response.headers["content-type"] == "image/png"
    assert content.response.headers["x-content-type-options"] == "nosniff"
    assert content.response.headers["content-disposition"].startswith("attachment")
    assert len(content.read()) == made.bytes
    assert b"secret" not in content.read()
    with Image.open(BytesIO(content.read())) as image:
        assert (image.format, image.size) == ("PNG", (256, 144))
    assert client.files.retrieve(made.id) == made


def test_a_clip_is_kept_without_sound_and_metadata(client: OpenAI) -> None:
    made = upload(client, media.clip(sound=True, metadata={"title": "the secret"}), name="a.mp4")
    content = client.files.content(made.id)
    assert content.response.headers["content-type"] == "video/mp4"
    assert b"secret" not in content.read()
    with av.open(BytesIO(content.read())) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_the_lines_of_a_batch_are_kept_as_they_are(client: OpenAI) -> None:
    made = upload(client, LINES, "batch", "lines.jsonl")
    assert (made.bytes, made.purpose) == (len(LINES), "batch")
    assert made.expires_at == made.created_at + 30 * 86_400
    assert client.files.content(made.id).read() == LINES


def test_a_file_may_have_an_end(client: OpenAI, database: Database, tenant: Tenant) -> None:
    made = upload(client, LINES, "batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert made.expires_at == made.created_at + 3600
    with database.transaction(tenant.id) as connection:
        connection.execute(sa.text("UPDATE files SET expires_at = now() WHERE tenant_id = :t"), {"t": tenant.id})
    with pytest.raises(NotFoundError):
        client.files.retrieve(made.id)
    assert client.files.list().data == []


def test_files_are_listed_in_pages_and_by_purpose(client: OpenAI) -> None:
    made = [upload(client, LINES, "batch", f"{number}.jsonl") for number in range(3)]
    vision = upload(client, media.picture())
    assert [file.id for file in client.files.list(purpose="vision").data] == [vision.id]
    assert [file.id for file in client.files.list(purpose="batch", limit=2)] == [file.id for file in made[::-1]]
    assert [file.id for file in client.files.list(order="asc", limit=1)] == [*(file.id for file in made), vision.id]
    for purpose in ("nothing", "fine-tune", "\0"):
        assert client.files.list(purpose=purpose).data == []
    page = client.files.list(limit=2)
    assert (page.has_more, page.data[0].id) == (True, vision.id)


@pytest.mark.parametrize(("query", "param"), [("limit=0", "limit"), ("limit=1001", "limit"), ("after=x", "after")])
def test_a_list_is_asked_for_within_its_limits(http: TestClient, query: str, param: str) -> None:
    answer = http.get(f"/v1/files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_deleted_file_is_gone_and_its_object_left_to_the_sweeper(
    client: OpenAI, database: Database, tenant: Tenant
) -> None:
    made = upload(client, LINES, "batch")
    gone = client.files.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "file", True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError) as refused:
            call(made.id)
        assert refused.value.code == "file_not_found"
    with database.transaction(tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE doomed_at <= now()")) == 1


def test_another_tenant_s_file_is_no_file(
    client: OpenAI, new_tenant: Callable[[str], Tenant], client_of: Callable[..., OpenAI]
) -> None:
    made = upload(client, media.picture())
    other = client_of(new_tenant("bob"))
    assert other.files.list().data == []
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(NotFoundError):
            call(made.id)
    with pytest.raises(NotFoundError):
        other.videos.create(prompt="it moves", size="256x144", extra_body={"input_reference": {"file_id": made.id}})


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.png", "a b.png"),
        ('a"; evil.png', "a_22_ evil.png"),
        ("日本.png", "日本.png"),
        ("a" * 300, "a" * 255),
        ("<script>.png", "_script_.png"),
    ],
)
def test_a_name_is_a_label_and_no_path(client: OpenAI, name: str, kept: str) -> None:
    assert upload(client, LINES, "batch", name).filename == kept


@pytest.mark.parametrize(
    ("fields", "content", "param", "code"),
    [
        ({"purpose": "vision"}, None, "file", "missing_required_parameter"),
        ({}, LINES, "purpose", "missing_required_parameter"),
        ({"purpose": "fine-tune"}, LINES, "purpose", "invalid_value"),
        ({"purpose": "batch_output"}, LINES, "purpose", "invalid_value"),
        ({"purpose": "batch", "path": "/etc/passwd"}, LINES, "path", "unknown_parameter"),
        ({"purpose": "batch", "file": "/etc/passwd"}, None, "file", "invalid_type"),
        ({"purpose": "batch", "expires_after": "soon"}, LINES, "expires_after", "invalid_type"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, LINES, "expires_after", "invalid_value"),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            LINES,
            "expires_after.seconds",
            "invalid_value",
        ),
        ({"purpose": "batch"}, b"", "file", "invalid_value"),
        ({"purpose": "batch"}, b"not json", "file", "invalid_value"),
        ({"purpose": "batch"}, b'{"a": "\xff"}', "file", "invalid_value"),
        ({"purpose": "batch"}, media.picture(), "file", "invalid_value"),
        ({"purpose": "vision"}, LINES, "file", "invalid_value"),
        ({"purpose": "vision"}, b"#EXTM3U\nfile:///etc/passwd", "file", "invalid_value"),
        ({"purpose": "vision"}, media.clip()[:900], "file", "invalid_value"),
    ],
)
def test_other_uploads_are_refused(
    http: TestClient, fields: dict[str, str], content: bytes | None, param: str, code: str
) -> None:
    parts: list[Any] = [(name, (None, value)) for name, value in fields.items()]
    if content is not None:
        parts.append(("file", ("a", content)))
    answer = http.post("/v1/files", files=parts or [("x", (None, ""))])
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


def test_the_same_upload_sent_again_is_one_file(http: TestClient) -> None:
    def send() -> Any:
        parts: list[Any] = [("purpose", (None, "batch")), ("file", ("a.jsonl", LINES))]
        return http.post("/v1/files", files=parts, headers={"idempotency-key": "the same"})

    first, second = send(), send()
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(http.get("/v1/files").json()["data"]) == 1


def test_a_counted_retry_is_one_file_and_two_deliberate_uploads_are_two(http: TestClient) -> None:
    def send(count: int) -> str:
        parts: list[Any] = [("purpose", (None, "batch")), ("file", ("a.jsonl", LINES))]
        answer = http.post("/v1/files", files=parts, headers={"x-stainless-retry-count": str(count)})
        file_id: str = answer.json()["id"]
        return file_id

    first = send(0)
    assert send(1) == first
    second = send(0)
    assert second != first
    assert http.get(f"/v1/files/{second}").status_code == 200
    assert send(1) not in {first, second}, "the second was seen, so nobody retries it"


def test_an_uploaded_picture_becomes_the_first_frame(client: OpenAI, object_store: ObjectStore, tenant: Tenant) -> None:
    made = upload(client, media.picture("WEBP"))
    reference = {"input_reference": {"file_id": made.id}}
    video = client.videos.create(prompt="it moves", size="256x144", extra_body=reference)
    client.files.delete(made.id)
    key = f"inputs/{tenant.id.hex}/{ids.parse(ids.Kind.VIDEO, video.id).hex}/first_frame.png"
    assert object_store.read(key).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "purpose", "message"),
    [
        (media.picture(size=(64, 64)), "vision", "Inpaint image must match the requested width and height"),
        (media.clip(seconds=0.2), "vision", "must name a picture"),
        (LINES, "batch", "must name a picture"),
    ],
)
def test_a_file_of_another_kind_or_size_is_no_first_frame(
    client: OpenAI, content: bytes, purpose: str, message: str
) -> None:
    reference = {"input_reference": {"file_id": upload(client, content, purpose).id}}
    with pytest.raises(BadRequestError, match=message):
        client.videos.create(prompt="it moves", size="256x144", extra_body=reference)


def test_ids_that_are_none_are_not_found(client: OpenAI) -> None:
    for file_id in ("file_1", "video_" + "0" * 32, "file_" + "0" * 32):
        with pytest.raises(NotFoundError):
            client.files.retrieve(file_id)
        with pytest.raises(NotFoundError) as refused:
            client.videos.create(
                prompt="it moves", size="256x144", extra_body={"input_reference": {"file_id": file_id}}
            )
        assert refused.value.param == "input_reference"


def test_the_document_names_what_an_upload_takes(app: TestClient) -> None:
    schema = app.get("/openapi.json").json()["paths"]["/v1/files"]["post"]["requestBody"]["content"]
    assert list(schema) == ["multipart/form-data"]
    assert json.dumps(schema).count("vision") == 1
