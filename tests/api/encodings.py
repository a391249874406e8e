"""One set of parameters in each of the encodings that a POST accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

Send = Callable[[TestClient, str, dict[str, Any]], Response]


def as_json(http: TestClient, path: str, values: dict[str, Any]) -> Response:
    return http.post(path, json=values)


def as_texts(http: TestClient, path: str, values: dict[str, Any]) -> Response:
    """A form whose structured values are JSON texts."""
    return http.post(path, files=[(name, (None, _text(value))) for name, value in values.items()])


def as_brackets(http: TestClient, path: str, values: dict[str, Any]) -> Response:
    """A form as OpenAI's clients write nested values."""
    return http.post(path, files=[(name, (None, text)) for name, text in _flat("", values)])


ENCODINGS: dict[str, Send] = {"json": as_json, "texts": as_texts, "brackets": as_brackets}


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        parts = [(f"{prefix}[{name}]" if prefix else name, each) for name, each in value.items()]
        return [pair for name, each in parts for pair in _flat(name, each)]
    if isinstance(value, list):
        return [pair for each in value for pair in _flat(f"{prefix}[]", each)]
    return [(prefix, _text(value))]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
