"""Keys first, bytes second: what is not written down cannot be swept. Both insist while their server is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from storage import outputs
from storage.outputs import CONTENT_TYPES, Kind
from storage.schedule import Lease
from worker.lease import Pulse
from worker.patience import insist
from worker.process import Process


def register(
    process: Process, lease: Lease, pulse: Pulse, purpose: Literal["draft", "output"], keys: Mapping[Kind, str]
) -> bool:
    """Write the keys down. False: the lease was lost. Raises Interrupted, as `insist` does."""
    return insist(pulse, partial(_register, process, lease, purpose, list(keys.values())))


def put(process: Process, pulse: Pulse, kind: Kind, key: str, path: Path) -> None:
    """Store the file under its registered key. Raises Interrupted, as `insist` does."""
    insist(pulse, partial(process.store.put, key, path, CONTENT_TYPES[kind]))


def _register(process: Process, lease: Lease, purpose: Literal["draft", "output"], keys: Sequence[str]) -> bool:
    with process.database.transaction(lease.tenant_id) as connection:
        return outputs.register(connection, lease, purpose, keys)
