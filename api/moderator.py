"""The moderator process, asked on behalf of clients: within a time, few at once, and without keeping a word."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import httpx
from pydantic import BaseModel, Field, ValidationError

from api.turns import Crowd, Room, Turns
from domain.errors import Unavailable
from moderation.policy import Action
from moderation.questions import SECONDS

log = logging.getLogger(__name__)

# More would only be refused by the moderator; a tenant with several questions leaves a place to the others.
ROOM = Room(places=2, of_a_tenant=1, waiting=4, patience_seconds=2.0)
_PATH = "/v1/moderations"


class Said(BaseModel):
    """What a moderator of ours would do."""

    action: Action


class Result(BaseModel):
    """What a service of OpenAI's shape says of one text."""

    flagged: bool
    category_scores: dict[str, Annotated[float, Field(ge=0, le=1)]]
    categories: dict[str, bool] = {}
    kinema: Said | None = None


class Answer(BaseModel):
    """One result for each text."""

    model: str
    results: list[Result]


class Moderator:
    """A few kept connections to the moderator at a base URL. Threads share it."""

    def __init__(self, url: str, timeout_seconds: float, crowd: Crowd, room: Room = ROOM) -> None:
        # The moderator is part of the installation: an outside proxy has no business with prompts.
        limits = httpx.Limits(max_connections=room.places + 1, max_keepalive_connections=room.places)
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_seconds, trust_env=False, limits=limits)
        self._client.headers[SECONDS] = str(timeout_seconds)
        self._turns = Turns(room, "The moderator is busy at the moment.", crowd)

    def judge(self, tenant_id: UUID, texts: Sequence[str]) -> Answer:
        """A result for each text, in order. Raises Unavailable."""
        with self._turns.of(tenant_id):
            return self._ask(texts)

    def answers(self) -> bool:
        """Whether anybody is there at all, asked within two seconds."""
        try:
            return self._client.get("/healthz", timeout=2.0).status_code < 500
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, texts: Sequence[str]) -> Answer:
        try:
            response = self._client.post(_PATH, json={"input": list(texts)})
            response.raise_for_status()
            answer = Answer.model_validate_json(response.content)
        except httpx.HTTPError as error:
            raise _away(type(error).__name__) from None
        except ValidationError:  # its text would quote the answer
            raise _away("ValidationError") from None
        if len(answer.results) != len(texts):
            raise _away("WrongLength")
        return answer


def _away(reason: str) -> Unavailable:
    log.warning("the moderator gave no answer", extra={"error": reason})
    return Unavailable("The moderator does not answer. Please try again shortly.")
