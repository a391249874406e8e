from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient
from openai import AsyncOpenAI, BadRequestError, OpenAI

from domain import ids
from tests.api.conftest import BASE, Tenant
from tests.fixtures.videos import World


@pytest.fixture
def made(world: World, tenant: Tenant) -> list[str]:
    """Seven videos, oldest first."""
    return [ids.public(ids.Kind.VIDEO, world.create(tenant.id)) for _ in range(7)]


def test_the_newest_come_first(client: OpenAI, made: list[str]) -> None:
    page = client.videos.list()
    assert [video.id for video in page.data] == made[::-1]
    assert (page.to_dict()["object"], page.has_more) == ("list", False)
    assert (page.to_dict()["first_id"], page.last_id) == (made[-1], made[0])


def test_pages_follow_each_other_without_a_gap(client: OpenAI, made: list[str]) -> None:
    first = client.videos.list(limit=3)
    assert (len(first.data), first.has_more) == (3, True)
    second = client.videos.list(limit=3, after=first.last_id or "")
    assert [video.id for video in [*first.data, *second.data]] == made[:0:-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_client_pages_by_itself(client: OpenAI, made: list[str], order: str) -> None:
    found = [video.id for video in client.videos.list(limit=3, order=order)]
    assert found == (made if order == "asc" else made[::-1])


def test_paging_goes_on_after_a_video_that_was_deleted(client: OpenAI, made: list[str]) -> None:
    client.videos.delete(made[3])
    assert [video.id for video in client.videos.list(after=made[3])] == made[2::-1]


def test_an_async_client_pages_too(app: TestClient, tenant: Tenant, made: list[str]) -> None:
    async def collect() -> list[str]:
        transport = ASGITransport(app.app)
        async with AsyncClient(transport=transport) as http:
            client = AsyncOpenAI(api_key=tenant.key, base_url=BASE, http_client=http, max_retries=0)
            created = await client.videos.create(prompt="a ball")
            assert (await client.videos.retrieve(created.id)).id == created.id
            return [video.id async for video in client.videos.list(limit=3)][1:]

    assert asyncio.run(collect()) == made[::-1]


def test_an_empty_list_ends_the_paging(client: OpenAI) -> None:
    page = client.videos.list()
    assert page.to_dict() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 101}, "limit"), ({"limit": -1}, "limit"), ({"order": "up"}, "order"), ({"after": "x"}, "after")],
)
def test_a_query_out_of_bounds_is_refused(client: OpenAI, query: dict[str, object], param: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.videos.list(**query)
    assert (refused.value.param, refused.value.code) == (param, "invalid_value")


@pytest.mark.parametrize("limit", [0, 100])
def test_the_bounds_themselves_are_fine(client: OpenAI, made: list[str], limit: int) -> None:
    assert len(client.videos.list(limit=limit).data) == min(limit, len(made))


def test_somebody_elses_videos_are_not_listed(
    client_of: Callable[..., OpenAI], new_tenant: Callable[[str], Tenant], made: list[str]
) -> None:
    bob = client_of(new_tenant("bob"))
    assert bob.videos.list().data == []
    assert bob.videos.list(after=made[-1], order="desc").data == []
