"""The object store as these settings name it."""

from __future__ import annotations

from runtime.settings import Settings
from storage.objects import ObjectStore


def open_store(settings: Settings) -> ObjectStore:
    """A patient client: it tries three times, which a worker can afford."""
    return ObjectStore(
        settings.s3_endpoint_url or None,
        settings.s3_access_key,
        settings.s3_secret_key,
        settings.s3_bucket,
        region=settings.s3_region,
    )
