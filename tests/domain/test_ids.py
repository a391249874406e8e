from __future__ import annotations

import time

import pytest

from domain.ids import InvalidId, Kind, new_id, parse, public


def test_ids_made_later_compare_greater() -> None:
    made = []
    for _ in range(200):
        made.append(new_id())
        time.sleep(0.000_002)
    assert made == sorted(made)


def test_an_id_is_a_uuid_of_version_7() -> None:
    value = new_id(at_ns=1_700_000_000_123_456_789)
    assert value.version == 7
    assert value.int >> 80 == 1_700_000_000_123


def test_the_public_form_comes_back() -> None:
    value = new_id()
    assert parse(Kind.VIDEO, public(Kind.VIDEO, value)) == value


@pytest.mark.parametrize(
    "text", ["", "video_", "video_xyz", "evt_" + "0" * 32, "video_" + "0" * 31, "video_" + "A" * 32]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidId):
        parse(Kind.VIDEO, text)
