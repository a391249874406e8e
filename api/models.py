"""/v1/models: what this installation serves, aliases included: abilities, limits and prices of each."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api import parameters
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from api.parameters import sizes
from domain.catalogue import MOST_EXTENSIONS, MOST_TOTAL_SECONDS, OPERATION_NEEDS, Model
from domain.video import Operation

router = APIRouter(prefix="/v1", tags=["models"], responses=FAILURES)


class Price(BaseModel):
    """Micro-units (millionths of the currency unit) for each delivered second at default steps and fps.

    The price is proportional to steps, and to the frames that the model draws in a second.
    """

    micros_per_second: int


class Shape(BaseModel):
    """A size that a video may have, the names that pick it, and the size that the model draws."""

    size: str
    aspect_ratio: str
    resolution: str
    rendered: str


class Extensions(BaseModel):
    """How far a clip may be extended."""

    seconds: list[str]  # at a time
    most_times: int
    most_total_seconds: int


class Call(BaseModel):
    """One of the calls that make a video."""

    parameters: dict[str, dict[str, Any]]  # name -> JSON Schema with this model's limits


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
    shapes: list[Shape]
    seconds: list[str]
    extensions: Extensions | None
    fps: int
    rates: list[int]  # fps that may be asked for, with the capability
    steps: list[int]  # least, default, most
    loras: list[str]
    price: Price
    operations: dict[Operation, Call]


class ModelList(BaseModel):
    """Every name that a create of this tenant accepts as `model`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.get("/models")
def list_models(served: Served, caller: Authenticated) -> ModelList:
    """Names first, each followed by its aliases; only what the tenant may use."""
    names = served.catalogue.names(caller.tenant.allowed_models)
    return ModelList(data=[_card(model, name) for name, model in names])


@router.get("/models/{model_id}")
def retrieve_model(served: Served, caller: Authenticated, model_id: str) -> ModelCard:
    """One model by name or alias."""
    return _card(served.catalogue.find(model_id, caller.tenant.allowed_models), model_id)


def _card(model: Model, name: str) -> ModelCard:
    return ModelCard(
        id=name,
        created=model.created,
        resolved_model=model.name,
        description=model.description,
        capabilities=sorted(model.capabilities),
        sizes=list(model.sizes),
        shapes=[Shape(**sizes.names(size), rendered=model.sizes[str(size)]) for size in sizes.sizes(model)],
        seconds=[str(value) for value in model.seconds],
        extensions=_extensions(model),
        fps=model.fps,
        rates=list(model.rates),
        steps=list(model.steps),
        loras=list(model.loras),
        price=Price(micros_per_second=model.price_micros),
        operations={operation: _call(model, operation) for operation in Operation if _makes(model, operation)},
    )


def _makes(model: Model, operation: Operation) -> bool:
    return OPERATION_NEEDS.get(operation) in {None, *model.capabilities}


def _call(model: Model, operation: Operation) -> Call:
    taken = parameters.of(operation).values()
    offered = (each for each in taken if each.capability in {None, *model.capabilities})
    return Call(parameters={each.name: each.kind.schema(model) for each in offered})


def _extensions(model: Model) -> Extensions | None:
    if not _makes(model, Operation.EXTEND):
        return None
    seconds = [str(value) for value in model.extension_seconds]
    return Extensions(seconds=seconds, most_times=MOST_EXTENSIONS, most_total_seconds=MOST_TOTAL_SECONDS)
