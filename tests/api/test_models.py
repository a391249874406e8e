from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import NotFoundError, OpenAI

from domain.catalogue import NEEDS
from tests.api.conftest import Tenant
from tests.fixtures.videos import World


def test_every_name_that_a_create_accepts_is_listed(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "kinema-dit"
    assert {"sora-2", "sora-2-pro"} <= set(names)
    assert "testcard" not in names
    for name in names:
        assert client.videos.create(prompt="a ball", model=name).model == name


def test_a_model_says_what_it_can_do_and_costs(client: OpenAI) -> None:
    model = client.models.retrieve("sora-2")
    assert (model.id, model.object, model.owned_by) == ("sora-2", "model", "kinema")
    extras = model.to_dict()
    assert extras["resolved_model"] == "kinema-dit"
    assert extras["seconds"] == ["4", "8", "12", "16", "20", "30", "60"]
    assert "720x1280" in extras["sizes"]
    assert {"text", "first_frame", "keyframes", "shots", "video", "extend", "mask"} < set(extras["capabilities"])
    assert (extras["fps"], extras["price"]) == (12, {"micros_per_second": 10_000})


def test_a_model_says_which_parameters_it_takes_and_their_limits(testcard: TestClient) -> None:
    card = testcard.get("/v1/models/testcard").json()
    assert set(card["operations"]) == {"create", "remix", "edit", "extend"}
    create = card["operations"]["create"]["parameters"]
    assert create["fps"] == {"type": "integer", "enum": [6, 12, 24]}
    assert create["steps"] == {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 8}
    assert create["loras"]["items"]["properties"]["name"]["enum"] == ["sepia", "night"]
    assert create["aspect_ratio"]["enum"] == ["9:16", "16:9", "4:7", "7:4"]
    assert {"size": "1280x720", "aspect_ratio": "16:9", "resolution": "720p", "rendered": "256x144"} in card["shapes"]
    assert card["extensions"] == {"seconds": ["1", "2", "4", "8", "12"], "most_times": 6, "most_total_seconds": 120}
    assert card["operations"]["extend"]["parameters"]["seconds"]["enum"] == card["extensions"]["seconds"]


def test_a_model_does_not_offer_what_it_lacks(http: TestClient) -> None:
    card = http.get("/v1/models/kinema-dit").json()
    offered = set(card["operations"]["create"]["parameters"])
    lacking = {name for name, capability in NEEDS.items() if capability not in card["capabilities"]}
    assert lacking
    assert not offered & lacking
    for name in lacking - {"strength", "mask"}:  # which a create does not take from any model
        answer = http.post("/v1/videos", json={"prompt": "a ball", "model": "kinema-dit", name: "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter"), name
        assert "kinema-dit" in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == name


def test_a_tenant_sees_and_uses_only_the_models_it_may(
    testcard: TestClient, new_tenant: Callable[[str], Tenant], world: World
) -> None:
    tenant = new_tenant("limited")
    with world.database.transaction_for_any_tenant() as connection:
        models = sa.text("UPDATE tenants SET allowed_models = '{testcard,sora-2}' WHERE id = :id")
        connection.execute(models, {"id": tenant.id})
    testcard.headers["authorization"] = f"Bearer {tenant.key}"
    names = [model["id"] for model in testcard.get("/v1/models").json()["data"]]
    assert names == ["sora-2", "testcard"], "an alias alone, and a model"
    assert testcard.get("/v1/models/kinema-dit").status_code == 404
    refused = testcard.post("/v1/videos", json={"prompt": "a ball", "model": "kinema-dit"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    for name in names:
        assert testcard.post("/v1/videos", json={"prompt": "a ball", "model": name}).status_code == 200


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.models.retrieve("sora-3")
    assert refused.value.code == "model_not_found"
