"""Kinema's workers with their one guard replaced: whoever once held a video may write to it for ever.

Only a test runs this, to show that the guard is what keeps results from being doubled. Spawned children import the
module that was started, so that they are changed too.
"""

from __future__ import annotations

import sys

import sqlalchemy as sa

from cli import main
from storage import leases, outputs, schedule
from storage.schedule import Lease
from storage.tables import videos


def held_by_anybody(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """The video alone, whatever its state and fence."""
    return videos.c.id == lease.video_id, videos.c.tenant_id == lease.tenant_id


for module in (schedule, leases, outputs):
    module.held_by = held_by_anybody  # type: ignore[attr-defined]

if __name__ == "__main__":
    sys.exit(main.main())
