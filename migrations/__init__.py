"""The schema's history: alembic, forward only."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`. Safe to run twice at once: one waits for the other."""
    command.upgrade(config(owner_url), revision)


def config(owner_url: str) -> Config:
    """Alembic's own configuration, without a file."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER))
    settings.attributes["owner_url"] = owner_url
    return settings
