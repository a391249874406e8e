from __future__ import annotations

import pytest

from api import paging
from api.paging import Named, Page
from domain import ids
from domain.errors import InvalidRequest


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (ids.Kind.VIDEO, "'after' must be the id of a video."),
        (ids.Kind.EVENT, "'after' must be the id of an event."),
        (ids.Kind.ADMIN_KEY, "'after' must be the id of an admin key."),
    ],
)
def test_an_id_of_another_kind_is_refused_by_name(kind: ids.Kind, said: str) -> None:
    own = ids.new_id()
    assert paging.named(kind, ids.public(kind, own)) == own
    assert paging.named(kind, None) is None
    with pytest.raises(InvalidRequest) as refused:
        paging.named(kind, ids.public(ids.Kind.FILE, own))
    assert (refused.value.message, refused.value.param) == (said, "after")


def test_a_page_names_its_first_and_last() -> None:
    page = Page[Named].of([Named(id="a"), Named(id="b"), Named(id="c")], more=True)
    assert (page.first_id, page.last_id, page.has_more) == ("a", "c", True)
    empty = Page[Named].of([], more=False)
    assert (empty.first_id, empty.last_id) == (None, None)
