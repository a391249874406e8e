"""What one API process holds open while it serves: connections, the catalogue, the ringer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Self

from api.callers import KeyRing
from api.estimates import Estimates
from api.gate import PATIENCE, Gate
from api.metrics import Metrics
from api.moderator import Moderator
from api.probes import Probes
from api.retrievals import Retrievals
from domain import catalogue
from domain.catalogue import Catalogue
from runtime.settings import Settings
from storage import hints
from storage.database import Database
from storage.hints import Bell, Ringer
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Services:
    """Opened once a process, shared by all of its threads."""

    settings: Settings
    database: Database
    objects: ObjectStore
    gate: Gate
    catalogue: Catalogue
    ringer: Ringer
    keys: KeyRing
    estimates: Estimates
    probes: Probes
    moderator: Moderator
    batch_wanted: Event  # set whenever a batch has something to do
    retrievals: Retrievals
    metrics: Metrics

    @classmethod
    def open(cls, settings: Settings, metrics: Metrics) -> Self:
        """Connects to nothing yet: every part finds its server at its first use."""
        database = Database(settings.database_url)
        objects = ObjectStore(
            settings.s3_endpoint_url or None,
            settings.s3_access_key,
            settings.s3_secret_key,
            settings.s3_bucket,
            region=settings.s3_region,
            public_url=settings.s3_public_url or None,
            patience=PATIENCE,
        )
        bell = Bell(hints.broker(settings.redis_url))
        return cls(
            settings=settings,
            database=database,
            objects=objects,
            gate=Gate(),
            catalogue=catalogue.load(Path(settings.models_file), testcard=settings.testcard),
            ringer=Ringer(bell),
            keys=KeyRing(database, settings.peppers),
            estimates=Estimates(database),
            probes=Probes(database, objects, bell),
            moderator=Moderator(settings.moderation_url, settings.moderation_timeout_seconds),
            batch_wanted=Event(),
            retrievals=Retrievals(),
            metrics=metrics,
        )

    def close(self) -> None:
        """Lets threads end and closes connections."""
        self.ringer.stop()
        self.probes.close()
        self.moderator.close()
        self.database.close()
