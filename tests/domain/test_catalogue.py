from __future__ import annotations

from pathlib import Path

import pytest

from domain import catalogue
from domain.errors import InvalidRequest, NotFound
from domain.video import Plan, Request, Size

MODELS_FILE = Path(__file__).parents[2] / "models.toml"
MODELS = catalogue.load(MODELS_FILE)
SORA = MODELS.find("sora-2")


def asked(seconds: int = 4, size: str = "1280x720", **extras: int) -> Request:
    return Request("sora-2", "a red ball", seconds, Size.parse(size), **extras)


def test_an_alias_finds_its_model_and_an_unknown_name_is_model_not_found() -> None:
    assert SORA.name == "kinema-dit"
    with pytest.raises(NotFound) as caught:
        MODELS.find("sora-9")
    assert caught.value.code == "model_not_found"


def test_the_test_card_is_offered_only_when_asked_for() -> None:
    with pytest.raises(NotFound):
        MODELS.find("testcard")
    assert catalogue.load(MODELS_FILE, testcard=True).find("testcard").engine == "testcard"


def test_a_bad_size_gets_openais_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalogue.plan(asked(seconds=5), SORA)
    assert caught.value.message == "Invalid value: '5'. Supported values are: '4', '8', and '12'."
    assert caught.value.param == "seconds"


def test_a_plan_holds_effective_values_only_and_survives_storage() -> None:
    plan = catalogue.plan(asked(seconds=8, size="720x1280"), SORA)
    assert (str(plan.rendered), str(plan.delivered), plan.frames) == ("80x144", "720x1280", 8 * plan.fps)
    assert 0 <= plan.seed < 2**63
    assert Plan.from_json(plan.to_json()) == plan


def test_a_given_seed_is_kept() -> None:
    assert catalogue.plan(asked(seed=7), SORA).seed == 7


def test_steps_outside_the_models_range_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        catalogue.plan(asked(steps=1_000), SORA)


def test_price_and_cost_grow_with_the_length() -> None:
    short, long = (catalogue.plan(asked(seconds=seconds), SORA) for seconds in (4, 8))
    assert catalogue.price(long, SORA) == 2 * catalogue.price(short, SORA)
    assert catalogue.cost(long, SORA) == 2 * catalogue.cost(short, SORA)


def test_every_size_keeps_its_shape_when_drawn_smaller() -> None:
    for model in catalogue.load(MODELS_FILE, testcard=True).models:
        for delivered, rendered in model.sizes.items():
            big, small = Size.parse(delivered), Size.parse(rendered)
            stretch = big.width * small.height / (big.height * small.width)
            assert stretch == pytest.approx(1, abs=0.02)
            assert small.width % 16 == 0
            assert small.height % 16 == 0
