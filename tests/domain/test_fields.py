from __future__ import annotations

import math
from typing import Literal

import pytest

from domain import fields
from domain.errors import InvalidRequest
from domain.fields import Field


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("value", [10**400, -(10**400), 2**31, -1])
def test_a_number_of_any_length_beyond_the_bounds_is_refused(kind: Literal["integer", "number"], value: int) -> None:
    with pytest.raises(InvalidRequest, match="it must be from 0 to 2147483647") as refused:
        fields.check({"cap": Field(kind, "a cap")}, {"cap": value})
    assert refused.value.param == "cap"


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, "1", None])
def test_what_is_no_finite_number_is_of_the_wrong_type(kind: Literal["integer", "number"], value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fields.check({"cap": Field(kind, "a cap")}, {"cap": value})
    assert refused.value.code == "invalid_type"


def test_numbers_within_the_bounds_keep_their_kind() -> None:
    table = {"cap": Field("integer", "a cap"), "share": Field("number", "a share", most=1)}
    assert fields.check(table, {"cap": 3.0, "share": 0.5}) == {"cap": 3, "share": 0.5}
