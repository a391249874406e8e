"""/v1/videos/characters: named reference clips, which a create refers to by id."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api import bodies, files, idempotency, inputs
from api.bodies import Received
from api.deps import Authenticated, Served
from api.idempotency import Retrying
from api.inputs import Clip
from api.openapi import FAILURES
from api.parameters.refusals import missing, unknown, wrong_type
from api.services import Services
from domain import ids
from domain.errors import InvalidRequest, NotFound
from domain.lifecycle import State
from storage import characters, outputs, videos
from storage.characters import Character
from storage.keys import Caller
from storage.outputs import Kind

NAME_LIMIT = 80
MOST_SECONDS = 4.0
_FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
_REFERENCE: dict[str, Any] = {
    "type": "object",
    "description": "A completed video by its id, or an uploaded clip by its file_id.",
    "properties": {"id": {"type": "string"}, "file_id": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _body(video: dict[str, Any]) -> dict[str, Any]:
    name = {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT}
    return {
        "schema": {
            "type": "object",
            "properties": {"name": name, "video": video},
            "required": ["name", "video"],
            "additionalProperties": False,
        }
    }


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _body({"oneOf": [_FILE, _REFERENCE]}),
            "application/json": _body(_REFERENCE),
        },
    }
}

router = APIRouter(prefix="/v1", tags=["characters"], responses=FAILURES)


class CharacterObject(BaseModel):
    """OpenAI's character."""

    id: str
    object: Literal["character"] = "character"
    created_at: int
    name: str


@router.post("/videos/characters", openapi_extra=_BODY)
def create_character(
    retry: Retrying, served: Served, caller: Authenticated, received: Received, response: Response
) -> CharacterObject:
    """Keep a clip of up to four seconds under a name. A create's prompt must say the name."""
    values = bodies.read(received)
    attempt = idempotency.attempt(retry, caller, values)
    made = attempt.recall(served)
    if made is None:
        name = _name(values)
        clip = _clip(served, caller, values)
        character_id = ids.new_id()
        files.put(served, caller, characters.key(caller.tenant_id, character_id), clip.mp4, "video/mp4")
        with served.database.transaction(caller.tenant_id) as connection:

            def make() -> str:
                characters.create(
                    connection,
                    caller.tenant_id,
                    character_id,
                    name=name,
                    size=len(clip.mp4),
                    facts=clip.facts,
                    quota_bytes=served.settings.files_quota_bytes,
                )
                return ids.public(ids.Kind.CHARACTER, character_id)

            made = attempt.once(connection, make)
    made.tell(response)
    return _shown(_find(served, caller, made.resource))


@router.get("/videos/characters/{character_id}")
def retrieve_character(served: Served, caller: Authenticated, character_id: str) -> CharacterObject:
    """One character."""
    character = _find(served, caller, character_id)
    with served.database.transaction(caller.tenant_id) as connection:
        served.retrievals.note(connection, caller.tenant_id, character_id, character.created_at)
    return _shown(character)


def _name(values: dict[str, Any]) -> str:
    for param in values:
        if param not in {"name", "video"}:
            unknown(param)
    for param in ("name", "video"):
        if param not in values:
            missing(param)
    name = values["name"]
    if not isinstance(name, str):
        wrong_type("name", "a string", name)
    name = name.strip()
    if not 1 <= len(name) <= NAME_LIMIT:
        raise InvalidRequest(f"Invalid 'name': it must have 1 to {NAME_LIMIT} characters.", param="name")
    return name


def _clip(served: Services, caller: Caller, values: dict[str, Any]) -> Clip:
    """The clip, made anew. Raises InvalidRequest, NotFound, Unavailable."""
    match values["video"]:
        case {"id": str(video_id), **rest} if not rest:
            return inputs.clean_clip(served, caller, _result(served, caller, video_id), "video", MOST_SECONDS)
        case reference:
            return inputs.clip(served, caller, "video", reference, MOST_SECONDS)


def _result(served: Services, caller: Caller, video_id: str) -> bytes:
    """The file of a completed video of the tenant's."""
    try:
        with served.database.transaction(caller.tenant_id) as connection:
            video = videos.find(connection, caller.tenant_id, ids.parse(ids.Kind.VIDEO, video_id))
            found = None if video is None else outputs.find(connection, caller.tenant_id, video.id).get(Kind.VIDEO)
    except ids.InvalidId:
        video = found = None
    if video is None:
        raise NotFound(f"Video with id '{video_id[:64]}' not found.", param="video", code="video_not_found")
    if video.state is not State.COMPLETED or found is None:
        raise InvalidRequest("The video must be completed.", param="video", code="video_not_completed")
    with served.gate.entered():
        return served.objects.read(found.object_key)


def _find(served: Services, caller: Caller, character_id: str) -> Character:
    try:
        with served.database.transaction(caller.tenant_id) as connection:
            found = characters.find(connection, caller.tenant_id, ids.parse(ids.Kind.CHARACTER, character_id))
    except ids.InvalidId:
        found = None
    if found is None:
        raise NotFound(
            f"Character with id '{character_id[:64]}' not found.", param="character_id", code="character_not_found"
        )
    return found


def _shown(character: Character) -> CharacterObject:
    return CharacterObject(
        id=ids.public(ids.Kind.CHARACTER, character.id),
        created_at=int(character.created_at.timestamp()),
        name=character.name,
    )
