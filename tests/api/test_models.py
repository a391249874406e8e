from __future__ import annotations

import pytest
from openai import NotFoundError, OpenAI


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
    assert extras["seconds"] == ["4", "8", "12"]
    assert "720x1280" in extras["sizes"]
    assert extras["capabilities"] == ["first_frame", "text"]
    assert (extras["fps"], extras["price"]) == (12, {"micros_per_second": 10_000})


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.models.retrieve("sora-3")
    assert refused.value.code == "model_not_found"
