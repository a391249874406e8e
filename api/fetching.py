"""Pictures from the web, a few at a time, so that slow hosts can hold neither every thread nor every tenant."""

from __future__ import annotations

from uuid import UUID

from api.turns import Crowd, Room, Turns
from domain.deliveries import ErrorClass
from domain.errors import InvalidRequest
from runtime.egress import TOO_LARGE, WRONG_KIND, Egress, Unfetched

ROOM = Room(places=6, of_a_tenant=2, waiting=2, patience_seconds=2.0)
TOTAL_SECONDS = 10.0
MOST_BYTES = 20 * 1024 * 1024
# What object stores call a file whose type nobody told them is looked into, too.
KINDS = ("image/jpeg", "image/png", "image/webp", "image/jpg", "application/octet-stream", "binary/octet-stream")
_NOT_PUBLIC = "it must be an https URL of a public host that can be found"
_REASONS = {
    # One sentence for both: which names exist in our own network is nobody's business.
    ErrorClass.TARGET: _NOT_PUBLIC,
    ErrorClass.DNS: _NOT_PUBLIC,
    ErrorClass.TIMEOUT: "the host was too slow",
    ErrorClass.TLS: "the certificate of its host is not valid",
    TOO_LARGE: f"the picture may have at most {MOST_BYTES} bytes",
    WRONG_KIND: "the host must call it image/jpeg, image/png or image/webp",
}


class Fetcher:
    """The one way out for URLs that come with requests."""

    def __init__(self, crowd: Crowd, *, allow_loopback: bool, room: Room = ROOM) -> None:
        self._egress = Egress(allow_loopback=allow_loopback, total_seconds=TOTAL_SECONDS)
        self._turns = Turns(room, "Too many pictures are being fetched at the moment.", crowd)

    def picture(self, tenant_id: UUID, param: str, url: str) -> bytes:
        """The bytes behind the URL, whatever they are. Raises InvalidRequest, Unavailable."""
        with self._turns.of(tenant_id):
            outcome = self._egress.get(url, kinds=KINDS, most_bytes=MOST_BYTES)
        if isinstance(outcome, Unfetched):
            why = _REASONS.get(outcome.reason, "its host did not answer with a picture")
            raise InvalidRequest(f"'{param}.image_url' could not be fetched: {why}.", param=param)
        return outcome.body
