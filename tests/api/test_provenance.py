from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from api.services import MOST_DETECTIONS
from moderation import detector
from moderation.manifest import GENERATED
from moderation.provenance import SignedFile
from moderation.verification import Verification
from runtime.settings import Settings
from tests.api.sse import serving
from tests.moderation.test_provenance import KINDS, MIMES, authority, drafts, notary, signed_drafts

__all__ = ["authority", "drafts", "notary", "signed_drafts"]

ROUTE = "/v1/provenance/verify"


@pytest.fixture
def verifier(settings: Settings, authority: tuple[object, str], tmp_path: Path) -> Iterator[TestClient]:
    """An installation that trusts the signer of these tests."""
    root = tmp_path / "root.pem"
    root.write_text(authority[1])
    with TestClient(create_app(replace(settings, provenance_root_file=str(root)))) as client:
        yield client


def answer(client: TestClient, content: bytes) -> dict[str, Any]:
    response = client.post(ROUTE, files={"file": ("clip", content)})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("kind", KINDS)
def test_anybody_learns_what_a_file_of_ours_says(
    kind: str, verifier: TestClient, signed_drafts: dict[str, SignedFile]
) -> None:
    content = signed_drafts[kind].path.read_bytes()
    found = answer(verifier, content)
    assert (found["object"], found["state"], found["problems"]) == ("provenance.verification", "trusted", [])
    assert found["media_type"] == MIMES[kind]
    claims = found["claims"]
    assert (claims["made_with_ai"], claims["digital_source_type"]) == (True, GENERATED)
    assert (claims["generator"], claims["video_id"], claims["model"]) == ("Kinema", "video_1", "dit")
    assert len(claims["prompt_hmac_sha256"]) == 64
    raw = verifier.post(ROUTE, content=content, headers={"content-type": MIMES[kind]})
    assert raw.json() == found


def test_without_a_root_nobody_is_trusted(app: TestClient, signed_drafts: dict[str, SignedFile]) -> None:
    found = answer(app, signed_drafts["video"].path.read_bytes())
    assert (found["state"], found["claims"]["generator"]) == ("valid", "Kinema")


def test_a_root_that_cannot_be_read_trusts_nobody(settings: Settings, signed_drafts: dict[str, SignedFile]) -> None:
    with TestClient(create_app(replace(settings, provenance_root_file="/nowhere/root.pem"))) as client:
        assert answer(client, signed_drafts["video"].path.read_bytes())["state"] == "valid"


def test_a_broken_claim_claims_nothing(verifier: TestClient, signed_drafts: dict[str, SignedFile]) -> None:
    content = bytearray(signed_drafts["thumbnail"].path.read_bytes())
    content[content.index(b"VP8 ") + 40] ^= 1
    found = answer(verifier, bytes(content))
    assert (found["state"], found["claims"]) == ("invalid", None)
    assert found["problems"]


def test_a_file_without_claims_is_told_apart_from_a_broken_one(app: TestClient) -> None:
    plain = BytesIO()
    Image.new("RGB", (64, 64), "red").save(plain, "JPEG")
    found = answer(app, plain.getvalue())
    assert (found["state"], found["claims"]) == ("absent", None)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg/>", b"MZ"])
def test_other_files_are_refused(app: TestClient, content: bytes) -> None:
    response = app.post(ROUTE, files={"file": ("x.mp4", content, "video/mp4")})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_file")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"file": (None, b"text")}, "missing_required_parameter"),
        ({"file[a]": ("x", b"x")}, "missing_required_parameter"),
        ({"clip": ("x", b"x")}, "unknown_parameter"),
        ({"file": ("x", b"x"), "path": (None, b"/etc/passwd")}, "unknown_parameter"),
    ],
)
def test_a_form_has_one_file_and_nothing_else(app: TestClient, files: dict[str, Any], code: str) -> None:
    response = app.post(ROUTE, files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


def test_a_long_file_is_refused_before_it_is_read(app: TestClient, settings: Settings) -> None:
    response = app.post(ROUTE, content=bytes(settings.max_upload_bytes + 1), headers={"content-type": "video/mp4"})
    assert response.status_code == 413


def test_few_files_are_verified_at_once(app: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = threading.Semaphore(0)
    enough = threading.Event()

    def slow(*_: object) -> Verification:
        under_way.release()
        enough.wait(10)
        return Verification("absent")

    monkeypatch.setattr(detector, "detect", slow)
    with ThreadPoolExecutor(MOST_DETECTIONS) as pool:
        asked = [pool.submit(answer, app, b"\xff\xd8\xff\xd9") for _ in range(MOST_DETECTIONS)]
        for _ in asked:
            assert under_way.acquire(timeout=10)
        refused = app.post(ROUTE, files={"file": ("clip", b"\xff\xd8\xff\xd9")})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"]
        enough.set()
        assert {each.result()["state"] for each in asked} == {"absent"}
    assert answer(app, b"\xff\xd8\xff\xd9")["state"] == "absent", "places are given back"


def test_slow_bodies_keep_nobody_else_waiting(settings: Settings) -> None:
    with serving(settings) as live, ExitStack() as slow:
        host, _, port = live.url.removeprefix("http://").partition(":")
        for _ in range(MOST_DETECTIONS):
            body = slow.enter_context(socket.create_connection((host, int(port)), timeout=10))
            head = f"POST {ROUTE} HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 4\r\n"
            body.sendall(f"{head}expect: 100-continue\r\n\r\n".encode())
            assert b" 100 " in body.recv(1024), "the API reads the body now"
        quick = httpx.post(live.url + ROUTE, content=b"\xff\xd8\xff\xd9", headers={"content-type": "image/jpeg"})
    assert quick.status_code == 200, quick.text


def test_hostile_files_leave_every_place_free(app: TestClient) -> None:
    for number in range(MOST_DETECTIONS + 1):
        assert answer(app, b"\0\0\0\x18ftypisom" + bytes(number * 999))["state"] in {"invalid", "absent"}


def test_the_library_that_parses_is_never_loaded_by_the_api() -> None:
    code = "import sys, api.app; print([name for name in ('c2pa', 'torch') if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_document_asks_for_no_key(app: TestClient) -> None:
    operation = app.get("/openapi.json").json()["paths"][ROUTE]["post"]
    assert operation["security"] == []
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data", *MIMES.values()}
