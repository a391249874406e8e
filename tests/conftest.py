"""Fixtures for every test: real servers, a fresh migrated database, an empty Valkey database, a bucket."""

from hypothesis import settings

from tests.fixtures.run import pytest_configure, pytest_unconfigure
from tests.fixtures.servers import database_url, empty_database_url, object_store, owner_url, redis_url, stack, template
from tests.fixtures.videos import database, world

__all__ = [
    "database",
    "database_url",
    "empty_database_url",
    "object_store",
    "owner_url",
    "pytest_configure",
    "pytest_unconfigure",
    "redis_url",
    "stack",
    "template",
    "world",
]

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")
