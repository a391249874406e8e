"""Making a video again with copies of what was uploaded for it.

Three short transactions, none of which waits for the store: a connection that idles within one is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

from domain.administration import Actor
from domain.errors import Conflict, Failure, NotFound
from domain.ids import new_id
from storage import interventions, outputs
from storage.database import Database
from storage.inspection import Inspected
from storage.objects import ObjectStore


def retry_for_any_tenant(
    database: Database,
    store: Callable[[], ObjectStore],
    actor: Actor,
    video_id: UUID,
    queue_seconds: int,
    *,
    place: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Inspected:
    """The same again as a new video of the same owner, who pays for it. If it is refused, the sweeper takes the copies.

    `store` is asked for only if there is something to copy; each copy is made inside a `place()`.
    Raises NotFound; Conflict for one that is not finished, or whose inputs are gone; QuotaExceeded, Unavailable.
    """
    with database.transaction_for_any_tenant() as connection:
        old = interventions.retriable_for_any_tenant(connection, video_id).video
        kept = outputs.inputs(connection, old.tenant_id, old.id)
    needed, own_id = interventions.inputs_of(old), new_id()
    if not needed <= kept:
        raise _gone()
    try:
        if needed:
            _copy(database, store(), old.tenant_id, own_id, sources=sorted(needed), place=place)
        with database.transaction_for_any_tenant() as connection:
            return interventions.retry_for_any_tenant(connection, actor, video_id, queue_seconds, copied=own_id)
    except Failure:
        with database.transaction(old.tenant_id) as connection:
            outputs.abandon_inputs(connection, old.tenant_id, own_id)
        raise


def copy_input(
    database: Database, store: ObjectStore, tenant_id: UUID, video_id: UUID, *, name: str, source: str
) -> None:
    """Another object of the tenant's as an input of the video; its key is written down first, for the sweeper to find.

    Raises NotFound if the source is gone, Unavailable.
    """
    key = outputs.input_key(tenant_id, video_id, name)
    with database.transaction(tenant_id) as connection:
        outputs.register_input(connection, tenant_id, video_id, key)
    store.copy(source, key)


def _copy(
    database: Database,
    store: ObjectStore,
    tenant_id: UUID,
    video_id: UUID,
    *,
    sources: list[str],
    place: Callable[[], AbstractContextManager[None]],
) -> None:
    for source in sources:
        with place():
            try:
                copy_input(database, store, tenant_id, video_id, name=source.rpartition("/")[2], source=source)
            except NotFound:  # swept since it was looked up
                raise _gone() from None


def _gone() -> Conflict:
    return Conflict("What was uploaded for the video is no longer kept.", code="inputs_gone")
