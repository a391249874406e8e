from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from api import multipart
from api.multipart import Upload
from domain.errors import InvalidRequest


def form(*parts: tuple[str, str | bytes], file: tuple[str, bytes] | None = None) -> dict[str, Any]:
    body = b""
    for name, value in parts:
        data = value.encode() if isinstance(value, str) else value
        body += b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + data + b"\r\n"
    if file:
        head = f'--x\r\nContent-Disposition: form-data; name="{file[0]}"; filename="../../etc/passwd"\r\n\r\n'
        body += head.encode() + file[1] + b"\r\n"
    return multipart.read("multipart/form-data; boundary=x", BytesIO(body + b"--x--\r\n"))


def test_plain_fields_are_text() -> None:
    assert form(("prompt", "ein Bär"), ("seed", "3")) == {"prompt": "ein Bär", "seed": "3"}


def test_brackets_nest() -> None:
    assert form(("c[d]", "1"), ("c[e][f]", "2"), ("b[]", "3"), ("b[]", "4")) == {
        "c": {"d": "1", "e": {"f": "2"}},
        "b": ["3", "4"],
    }


def test_a_new_object_of_a_list_begins_where_a_key_repeats() -> None:
    fields = [("l[][n]", "a"), ("l[][w]", "1"), ("l[][n]", "b"), ("c[][id]", "x"), ("c[][id]", "y")]
    assert form(*fields) == {"l": [{"n": "a", "w": "1"}, {"n": "b"}], "c": [{"id": "x"}, {"id": "y"}]}


def test_objects_of_a_list_may_hold_objects_and_lists() -> None:
    fields = [("s[][r][id]", "a"), ("s[][r][w]", "1"), ("s[][t][]", "p"), ("s[][t][]", "q"), ("s[][r][id]", "b")]
    assert form(*fields) == {"s": [{"r": {"id": "a", "w": "1"}, "t": ["p", "q"]}, {"r": {"id": "b"}}]}


def test_a_file_is_bytes_whatever_it_is_called() -> None:
    assert form(file=("input_reference", b"\x89PNG\r\n")) == {"input_reference": Upload(b"\x89PNG\r\n")}


@pytest.mark.parametrize(
    "fields",
    [
        [("a", "1"), ("a", "2")],
        [("a", "1"), ("a[b]", "2")],
        [("a[]", "1"), ("a[b]", "2")],
        [("a[b]", "1"), ("a[]", "2")],
        [("a[b]c", "1")],
        [("[b]", "1")],
        [("a[", "1")],
        [("", "1")],
        [("a" + "[b]" * 9, "1")],
        [("a[]" + "[]" * 2, "1")],
        [("a", b"\xff")],
        [(f"a{number}", "1") for number in range(300)],
    ],
)
def test_a_form_that_contradicts_itself_is_refused(fields: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(InvalidRequest):
        form(*fields)


@pytest.mark.parametrize("ends", [("", ""), ("", "[b]")])
def test_a_refusal_repeats_at_most_64_characters_of_a_name(ends: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        form(*(("n" * 1000 + end, "1") for end in ends))
    assert refused.value.param == "n" * 64
    assert "n" * 65 not in refused.value.message


@pytest.mark.parametrize("body", [b"--y\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"])
def test_a_broken_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        multipart.read("multipart/form-data; boundary=x", BytesIO(body))


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        multipart.read("multipart/form-data", BytesIO(b""))


def test_a_form_that_breaks_off_is_refused() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na red b'
    with pytest.raises(InvalidRequest):
        multipart.read("multipart/form-data; boundary=x", BytesIO(body))
