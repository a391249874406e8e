from __future__ import annotations

import json
import time
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


@pytest.mark.parametrize("text", ["{", '{"k": NaN}', "[" * 90_000])
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
        b'{"prompt": ' + b"[" * 90_000,
        b'{"prompt": "x", "seed": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe{}",
    ],
)
def test_a_body_that_is_no_clean_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read("application/json", body)
    f"{refused.value.param}".encode()  # the answer itself can be written


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9.9e308"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(InvalidRequest, match="number that is not finite"):
        read("application/json", f'{{"prompt": "x", "guidance": {number}}}'.encode())
    with pytest.raises(InvalidRequest, match="'metadata' contains a number that is not finite"):
        form("metadata", f'{{"k": [{number}]}}')


def nested(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


def test_values_may_be_nested_as_deeply_as_all_can_bear() -> None:
    most = json.loads(nested(bodies.MOST_DEPTH))
    assert form("metadata", nested(bodies.MOST_DEPTH)) == {"metadata": most}
    assert read("application/json", f'{{"a": {nested(bodies.MOST_DEPTH - 1)}}}'.encode()) == {"a": most[0]}
    for levels in (bodies.MOST_DEPTH + 1, 600, 990, 90_000):
        with pytest.raises(InvalidRequest):
            form("metadata", nested(levels))
        with pytest.raises(InvalidRequest):
            read("application/json", f'{{"a": {nested(levels)}}}'.encode())
    with pytest.raises(InvalidRequest, match="nested too deeply: at most 64"):
        read("application/json", f'{{"a": {nested(64)}}}'.encode())


ELEMENTS = (b"[" + b"0," * 11_000_000 + b"0]", b"{" * 11_000_000, b'{"a":' * 6_000_000)


@pytest.mark.parametrize("value", ELEMENTS)
def test_millions_of_elements_are_refused_before_they_are_parsed(value: bytes) -> None:
    started = time.process_time()
    with pytest.raises(InvalidRequest, match="too many elements") as refused:
        read("application/json", b'{"prompt": "x", "shots": ' + value + b"}")
    with pytest.raises(InvalidRequest, match="'shots' has too many elements"):
        form("shots", value.decode())
    assert time.process_time() - started < 2, "parsing takes 8 seconds"
    assert "100000 times" in refused.value.message


def test_a_prompt_of_commas_and_a_large_picture_are_few_elements() -> None:
    values = {"prompt": "," * 32_000, "input_reference": {"image_url": "data:image/png;base64," + "A" * 20_000_000}}
    assert read("application/json", json.dumps(values).encode()) == values


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_encodings_are_unsupported(kind: str) -> None:
    with pytest.raises(HTTPException) as refused:
        read(kind, b"prompt=x")
    assert refused.value.status_code == 415
