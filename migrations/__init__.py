"""The schema's history: alembic, forward only, applied while the service runs (docs/operations/migrations.md)."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

FOLDER = Path(__file__).parent
LOCK_MILLISECONDS = 1_000  # a change of a table waits no longer for its lock: whoever comes after it waits as long
TRIES = 120
AGAIN_SECONDS = (0.5, 1.0, 2.0, 5.0)  # between tries, so that what waited behind the last one gets through
_BUSY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected

log = logging.getLogger(__name__)


def upgrade(owner_url: str, revision: str = "head", *, also: Path | None = None) -> int:
    """Bring the database to `revision`, and say how often a lock could not be had. Two at once: one waits.

    Each migration is a transaction of its own, and is tried again while others hold what it needs. `also` is a folder
    with further revisions. Raises OperationalError when the locks are never to be had.
    """
    for failed in range(TRIES):
        try:
            command.upgrade(config(owner_url, also), revision)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _BUSY or failed + 1 == TRIES:
                raise
            log.warning("a migration could not have its lock; it is tried again", extra={"tries": failed + 1})
            time.sleep(AGAIN_SECONDS[min(failed, len(AGAIN_SECONDS) - 1)])
        else:
            return failed
    raise AssertionError("unreachable: the last try returns or raises")


def config(owner_url: str, also: Path | None = None) -> Config:
    """Alembic's own configuration, without a file."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER))
    if also is not None:
        settings.set_main_option("path_separator", "newline")
        settings.set_main_option("version_locations", f"{FOLDER / 'versions'}\n{also}")
    settings.attributes["owner_url"] = owner_url
    settings.attributes["lock_milliseconds"] = LOCK_MILLISECONDS
    return settings
