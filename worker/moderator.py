"""The moderator: one warm process that scores texts, speaking OpenAI's `POST /v1/moderations`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from moderation.classifier import Classifier, OverdueError, TooMuchError
from moderation.policy import CATEGORIES, THRESHOLDS, Decision, Finding, decide
from moderation.prompts import findings
from moderation.questions import PURPOSE, SCREENING, SECONDS

MAX_TEXT = 32_000  # characters, the longest prompt
MAX_INPUTS = 64
# Screening has places of its own: whoever asks for advice, however much, keeps no video waiting.
ADVICE_PLACES, SCREENING_PLACES = 2, 8
_TOO_MUCH = Finding("unreadable", "review")
MOST_SECONDS = 30.0  # for a client that does not say how long it waits

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class TextPart(BaseModel):
    """A text among several inputs that are judged as one."""

    type: Literal["text"]
    text: Text


class ImagePart(BaseModel):
    """An image; understood, but refused, since nothing here can look at it."""

    type: Literal["image_url"]
    image_url: dict[str, Any]


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Moderation(BaseModel):
    """OpenAI's request. `model` is accepted and ignored: this moderator has one."""

    model_config = ConfigDict(extra="ignore")

    input: (
        Text | Annotated[list[Text], Field(max_length=MAX_INPUTS)] | Annotated[list[Part], Field(max_length=MAX_INPUTS)]
    )
    model: str | None = None


class Busy(Exception):
    """Everybody who may ask at once does."""


class ImagesNotSupported(Exception):
    """The request holds an image, and no image classifier is configured."""


def serve(host: str, port: int) -> None:
    """Load the classifier, then answer until SIGTERM. The port opens only when the first answer can be given."""
    app = create_app(Classifier())
    uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False)).run()


def create_app(classifier: Classifier) -> FastAPI:
    """The application around a loaded classifier."""
    app = FastAPI(title="Kinema moderator", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ImagesNotSupported, _no_images)
    app.add_exception_handler(Busy, _later)
    app.add_exception_handler(OverdueError, _later)
    places = {True: BoundedSemaphore(SCREENING_PLACES), False: BoundedSemaphore(ADVICE_PLACES)}

    @app.get("/healthz")
    def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - the router holds it
        return {"status": "ok", "model": classifier.name}

    @app.post("/v1/moderations")
    def moderations(  # pyright: ignore[reportUnusedFunction] - the same
        request: Moderation,
        purpose: Annotated[str, Header(alias=PURPOSE)] = "",
        seconds: Annotated[float, Header(alias=SECONDS, gt=0)] = MOST_SECONDS,
    ) -> dict[str, Any]:
        until = time.monotonic() + min(seconds, MOST_SECONDS)
        with _place(places[purpose == SCREENING]):
            results = [_judged(classifier, text, until) for text in _texts(request)]
        return {"id": f"modr-{uuid.uuid4().hex}", "model": classifier.name, "results": results}

    return app


@contextmanager
def _place(places: BoundedSemaphore) -> Generator[None]:
    """One of the places. Raises Busy if there is none: to wait would hold a thread that screening needs."""
    if not places.acquire(blocking=False):
        raise Busy
    try:
        yield
    finally:
        places.release()


def _judged(classifier: Classifier, text: str, until: float) -> dict[str, Any]:
    """One text's result; what is too much to read is for a person. Raises OverdueError once nobody waits for it."""
    if time.monotonic() > until:
        raise OverdueError
    found = findings(text)
    try:
        return _result(decide(found, classifier.score(text, until)))
    except TooMuchError:
        return _result(decide([*found, _TOO_MUCH]))


def _texts(request: Moderation) -> list[str]:
    """One text per result: parts of a list are one input together, strings of a list are one each."""
    if isinstance(request.input, str):
        return [request.input]
    parts = [part for part in request.input if not isinstance(part, str)]
    if any(isinstance(part, ImagePart) for part in parts):
        raise ImagesNotSupported
    if parts:
        return ["\n".join(part.text for part in parts if isinstance(part, TextPart))]
    return [text for text in request.input if isinstance(text, str)]


def _result(decision: Decision) -> dict[str, Any]:
    """One of OpenAI's results, and under `kinema` what their shape has no place for."""
    flags = {category: decision.scores[category] >= THRESHOLDS[category].review for category in CATEGORIES}
    return {
        "flagged": decision.flagged,
        "categories": flags,
        "category_scores": _rounded(decision.scores),
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
        "kinema": {"action": decision.action, "reasons": list(decision.reasons), "policy": decision.policy},
    }


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {category: round(scores[category], 6) for category in CATEGORIES}


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    first: Mapping[str, Any] = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    return _refusal(f"Invalid request: {first.get('msg', 'it cannot be read')}.", "invalid_value")


def _no_images(_request: Request, _error: Exception) -> JSONResponse:
    return _refusal("No image classifier is configured; send text only.", "images_not_supported")


def _later(_request: Request, _error: Exception) -> JSONResponse:
    body = {"message": "The moderator is busy.", "type": "server_error", "param": None, "code": "unavailable"}
    return JSONResponse({"error": body}, 503, {"retry-after": "1"})


def _refusal(message: str, code: str) -> JSONResponse:
    body = {"message": message, "type": "invalid_request_error", "param": "input", "code": code}
    return JSONResponse({"error": body}, 400)
