from __future__ import annotations

import pytest

from api.ranges import Range, Unsatisfiable, matches, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Range(0, 0)),
        ("bytes=2-5", Range(2, 5)),
        ("bytes=2-", Range(2, 9)),
        ("bytes=2-900", Range(2, 9)),
        ("bytes=-3", Range(7, 9)),
        ("bytes=-900", Range(0, 9)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
    ],
)
def test_one_range_is_honoured_and_what_may_be_ignored_is(header: str | None, expected: Range | None) -> None:
    assert parse(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_outside_of_the_file_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse(header, 10)


def test_any_of_the_named_files_matches() -> None:
    assert matches('"a", W/"b"', '"b"')
    assert matches("*", '"b"')
    assert not matches('"a"', '"b"')
    assert not matches(None, '"b"')
