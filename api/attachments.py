"""Pictures and clips of a request: checked, and stored before the video is."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from api import inputs
from api.services import Services
from api.sources import PARAM, Source
from domain.errors import Failure, NotFound
from domain.video import Size
from storage import outputs, retries
from storage.keys import Caller


@dataclass(frozen=True, slots=True)
class Attachment:
    """One input of a video: bytes that came along, or an object of the tenant's to copy."""

    name: str  # among the video's inputs; its suffix says what it is
    content: bytes | None = field(default=None, repr=False)
    copied: str | None = None


@dataclass(frozen=True, slots=True)
class _Picture:
    """A reference that is not looked at yet."""

    name: str
    param: str
    reference: Any


class Desk:
    """Takes a request's references and says which keys they will have, before any of them is decoded."""

    def __init__(self, tenant_id: UUID, video_id: UUID) -> None:
        self.video_id = video_id
        self._tenant_id = tenant_id
        self._pictures: list[_Picture] = []
        self._clips: list[Attachment] = []

    def picture(self, name: str, param: str, reference: Any) -> str | None:
        """The key of a picture; None if there is none."""
        if reference is None:
            return None
        self._pictures.append(_Picture(f"{name}.png", param, reference))
        return self._key(f"{name}.png")

    def source(self, source: Source) -> str:
        """The key of the clip to work on."""
        return self._ready(Attachment("source.mp4", content=source.mp4, copied=source.key))

    def copy(self, name: str, key: str | None) -> str | None:
        """The key of another input of the tenant's under a name of this video's: the other one may be deleted."""
        return None if key is None else self._ready(Attachment(f"{name}.png", copied=key))

    def attachments(self, served: Services, caller: Caller, size: Size) -> Iterator[Attachment]:
        """One by one, so that few decoded pictures are in memory: pictures of exactly this size, then clips.

        Raises InvalidRequest, NotFound, Unavailable.
        """
        for each in self._pictures:
            yield Attachment(each.name, content=inputs.picture(served, caller, each.param, each.reference, size))
        yield from self._clips

    def _ready(self, attachment: Attachment) -> str:
        self._clips.append(attachment)
        return self._key(attachment.name)

    def _key(self, name: str) -> str:
        return outputs.input_key(self._tenant_id, self.video_id, name)


def check(attachments: Iterable[Attachment]) -> None:
    """Decode everything and keep nothing. Raises as `Desk.attachments` does."""
    for _ in attachments:
        pass


@contextmanager
def stored(served: Services, tenant_id: UUID, video_id: UUID, attachments: Iterable[Attachment]) -> Generator[None]:
    """Everything lies in the store within the block; if it or the block is refused, the sweeper takes all of it.

    Raises as `Desk.attachments` does.
    """
    begun = False
    try:
        for attachment in attachments:
            begun = True
            _store(served, tenant_id, video_id, attachment)
        yield
    except Failure:
        if begun:
            with served.database.transaction(tenant_id) as connection:
                outputs.abandon_inputs(connection, tenant_id, video_id)
        raise


def _store(served: Services, tenant_id: UUID, video_id: UUID, attachment: Attachment) -> None:
    """The key is written down first, so that the sweeper finds whatever is put and not adopted."""
    if attachment.content is not None:
        inputs.store(served, tenant_id, video_id, attachment.name, attachment.content)
    elif attachment.copied is not None:
        _copy(served, tenant_id, video_id, attachment.name, attachment.copied)


def _copy(served: Services, tenant_id: UUID, video_id: UUID, name: str, copied: str) -> None:
    with served.gate.entered():
        try:
            retries.copy_input(served.database, served.objects, tenant_id, video_id, name=name, source=copied)
        except NotFound:  # deleted since it was looked up
            raise NotFound("The source is no longer there.", param=PARAM, code="video_not_found") from None
