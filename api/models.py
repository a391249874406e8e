"""/v1/models: what this installation serves, aliases included, with what each model can do and costs."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import Authenticated, Served
from api.openapi import FAILURES
from domain.catalogue import Model

router = APIRouter(prefix="/v1", tags=["models"], responses=FAILURES)


class Price(BaseModel):
    """Micro-units (millionths of the currency unit) for each delivered second."""

    micros_per_second: int


class ModelCard(BaseModel):
    """OpenAI's Model object. The fields after `owned_by` are Kinema's own."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["kinema"] = "kinema"
    resolved_model: str
    description: str
    capabilities: list[str]
    sizes: list[str]
    seconds: list[str]
    fps: int
    steps: list[int]  # least, default, most
    price: Price


class ModelList(BaseModel):
    """Every name that a create accepts as `model`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.get("/models")
def list_models(served: Served, _caller: Authenticated) -> ModelList:
    """Names first, each followed by its aliases."""
    cards = (_card(model, name) for model in served.catalogue.models for name in (model.name, *model.aliases))
    return ModelList(data=list(cards))


@router.get("/models/{model_id}")
def retrieve_model(served: Served, _caller: Authenticated, model_id: str) -> ModelCard:
    """One model by name or alias."""
    return _card(served.catalogue.find(model_id), model_id)


def _card(model: Model, name: str) -> ModelCard:
    return ModelCard(
        id=name,
        created=model.created,
        resolved_model=model.name,
        description=model.description,
        capabilities=sorted(model.capabilities),
        sizes=list(model.sizes),
        seconds=[str(value) for value in model.seconds],
        fps=model.fps,
        steps=list(model.steps),
        price=Price(micros_per_second=model.price_micros),
    )
