from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from api import bodies
from api.bodies import Body
from domain.errors import InvalidRequest


def read(content_type: str, body: bytes) -> dict[str, Any]:
    return bodies.read(Body(content_type, BytesIO(body)))


def form(name: str, value: str) -> dict[str, Any]:
    body = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--x--\r\n'
    return read("multipart/form-data; boundary=x", body.encode())


def test_json_with_a_charset_is_json() -> None:
    assert read("Application/JSON; charset=utf-8", b'{"a": {"b": [1, null]}, "c": null}') == {"a": {"b": [1, None]}}


def test_a_structured_parameter_of_a_form_may_be_json() -> None:
    assert form("metadata", ' {"k": "v"}') == {"metadata": {"k": "v"}}
    assert form("loras", '[{"n": "a"}]') == {"loras": [{"n": "a"}]}


def test_a_prompt_that_looks_like_json_stays_text() -> None:
    assert form("prompt", '{"k": "v"}') == {"prompt": '{"k": "v"}'}


@pytest.mark.parametrize("text", ["{", '{"k": NaN}', "[" * 100_000])
def test_broken_json_in_a_form_names_its_parameter(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        form("metadata", text)
    assert refused.value.param == "metadata"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"prompt"',
        b'{"prompt": NaN}',
        b'{"prompt": "a\\u0000b"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "\\ud800": 1}',
        b'{"prompt": "x", "metadata": {"k": "\\ud800"}}',
        b'{"prompt": "x", "metadata": {"k\\u0000": "v"}}',
        b'{"prompt": ' + b"[" * 100_000,
        b'{"prompt": "x", "seed": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe{}",
    ],
)
def test_a_body_that_is_no_clean_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read("application/json", body)
    f"{refused.value.param}".encode()  # the answer itself can be written


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_encodings_are_unsupported(kind: str) -> None:
    with pytest.raises(HTTPException) as refused:
        read(kind, b"prompt=x")
    assert refused.value.status_code == 415
