"""Pictures from the web, a few at a time, so that slow hosts can hold neither every thread nor every tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition
from uuid import UUID

from domain.deliveries import ErrorClass
from domain.errors import InvalidRequest, Unavailable
from runtime.egress import TOO_LARGE, WRONG_KIND, Egress, Unfetched

PLACES = 6  # for all tenants; a request thread waits in each
OF_A_TENANT = 2
WAITING = 4  # threads that may wait for a place,
PATIENCE_SECONDS = 2.0  # and for how long
TOTAL_SECONDS = 10.0
MOST_BYTES = 20 * 1024 * 1024
# What object stores call a file whose type nobody told them is looked into, too.
KINDS = ("image/jpeg", "image/png", "image/webp", "image/jpg", "application/octet-stream", "binary/octet-stream")
_REASONS = {
    ErrorClass.TARGET: "it must be an https URL of a public host",
    ErrorClass.DNS: "the name of its host is unknown",
    ErrorClass.TIMEOUT: "the host was too slow",
    ErrorClass.TLS: "the certificate of its host is not valid",
    TOO_LARGE: f"the picture may have at most {MOST_BYTES} bytes",
    WRONG_KIND: "the host must call it image/jpeg, image/png or image/webp",
}


class Fetcher:
    """The one way out for URLs that come with requests."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._egress = Egress(allow_loopback=allow_loopback, total_seconds=TOTAL_SECONDS)
        self._busy: Counter[UUID] = Counter()
        self._waiting = 0
        self._changed = Condition()

    def picture(self, tenant_id: UUID, param: str, url: str) -> bytes:
        """The bytes behind the URL, whatever they are. Raises InvalidRequest, Unavailable."""
        with self._place(tenant_id):
            outcome = self._egress.get(url, kinds=KINDS, most_bytes=MOST_BYTES)
        if isinstance(outcome, Unfetched):
            why = _REASONS.get(outcome.reason, "its host did not answer with a picture")
            raise InvalidRequest(f"'{param}.image_url' could not be fetched: {why}.", param=param)
        return outcome.body

    @contextmanager
    def _place(self, tenant_id: UUID) -> Generator[None]:
        with self._changed:
            if not self._has_room(tenant_id):
                self._wait(tenant_id)
            self._busy[tenant_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy[tenant_id] -= 1
                if not self._busy[tenant_id]:
                    del self._busy[tenant_id]
                self._changed.notify_all()

    def _has_room(self, tenant_id: UUID) -> bool:
        return self._busy[tenant_id] < OF_A_TENANT and self._busy.total() < PLACES

    def _wait(self, tenant_id: UUID) -> None:
        """Raises Unavailable if no place becomes free in time, or if too many wait already."""
        full = Unavailable("Too many pictures are being fetched at the moment. Please try again shortly.")
        if self._waiting >= WAITING:
            raise full
        self._waiting += 1
        try:
            if not self._changed.wait_for(lambda: self._has_room(tenant_id), PATIENCE_SECONDS):
                raise full
        finally:
            self._waiting -= 1
