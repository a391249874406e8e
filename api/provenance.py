"""POST /v1/provenance/verify: whether a file carries Content Credentials, whose, and whether they hold. For anybody.

Without a key, so bounded by size, by number and by time; the file is parsed in a child that is bounded too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from api import bodies, multipart
from api.bodies import Body
from api.deps import Served
from api.multipart import Upload
from api.openapi import FAILURES
from api.services import Services
from domain.errors import InvalidRequest, Unavailable
from moderation import detector
from moderation.verification import State, Verification

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0  # for the whole body
_KINDS = ("video/mp4", "image/webp", "image/jpeg")
_AI = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")

router = APIRouter(prefix="/v1", tags=["provenance"], responses=FAILURES)


class Claims(BaseModel):
    """What the file says of itself under a signature that holds. All texts are the signer's: escape them on display."""

    signer: str | None
    generator: str | None
    created_at: str | None
    made_with_ai: bool
    digital_source_type: str | None
    video_id: str | None
    model: str | None
    prompt_hmac_sha256: str | None
    ingredients: Annotated[list[str], Field(description="The relationship of each")]


class ProvenanceVerification(BaseModel):
    """trusted: signed under the root of this installation, unchanged since. valid: unchanged, signer unknown.

    invalid: changed, or the claim is broken. absent: no claim; that says nothing about where the file comes from.
    """

    object: Literal["provenance.verification"] = "provenance.verification"
    state: State
    media_type: Literal["video/mp4", "image/webp", "image/jpeg"]
    problems: Annotated[list[str], Field(description="C2PA status codes; ours begin with `kinema.`")]
    claims: Annotated[Claims | None, Field(description="Null unless the state is trusted or valid")]


async def receive(request: Request, served: Served) -> AsyncGenerator[Body]:
    """A body of anybody, and once it is there a place to verify it. Raises Unavailable.

    Few of both, so that strangers leave room for tenants. A slow body holds no place that a quick one could use.
    """
    with _place(served.strangers):
        async with bodies.within(request, served.settings.max_upload_bytes, PATIENCE_SECONDS) as body:
            with served.crowd.joined(), _place(served.detections):
                yield body


@contextmanager
def _place(places: BoundedSemaphore) -> Generator[None]:
    if not places.acquire(blocking=False):
        raise Unavailable("Too many files are being verified at the moment. Please try again shortly.")
    try:
        yield
    finally:
        places.release()


_FILE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": _FILE},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            },
            **{kind: {"schema": _FILE} for kind in _KINDS},
        },
    },
}


@router.post("/provenance/verify", openapi_extra=_BODY)
def verify_provenance(served: Served, body: Annotated[Body, Depends(receive)]) -> ProvenanceVerification:
    """Check an MP4, WebP or JPEG file, as a form or by itself. No key is needed, and nothing is kept."""
    content = _content(body)
    kind = detector.kind_of(content)
    if kind not in _KINDS:
        raise InvalidRequest("The file must be an MP4, WebP or JPEG file.", param="file", code="unsupported_file")
    found = detector.detect(content, kind, _root(served))
    return ProvenanceVerification(
        state=found.state, media_type=kind, problems=list(found.problems), claims=_claims(found)
    )


def _content(body: Body) -> bytes:
    if body.content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return body.file.read()
    values = multipart.read(body.content_type, body.file)
    upload = values.get("file")
    for name in values.keys() - {"file"}:
        raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
    if not isinstance(upload, Upload):
        raise InvalidRequest("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    return upload.content


def _root(served: Services) -> str | None:
    """Read each time: it is small, and may be replaced while we run."""
    path = served.settings.provenance_root_file
    try:
        return Path(path).read_text() if path else None
    except OSError as error:
        log.warning("the trust root cannot be read", extra={"error": error.strerror})
        return None


def _claims(found: Verification) -> Claims | None:
    """A broken claim claims nothing."""
    if found.state not in {"trusted", "valid"}:
        return None
    source = found.digital_source_type
    return Claims(
        signer=found.signer,
        generator=found.generator,
        created_at=found.created_at,
        made_with_ai=source is not None and source.rpartition("/")[2] in _AI,
        digital_source_type=source,
        video_id=found.video_id,
        model=found.model,
        prompt_hmac_sha256=found.prompt_digest,
        ingredients=list(found.ingredients),
    )
