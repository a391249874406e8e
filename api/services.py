"""What one API process holds open while it serves: connections, the catalogue, the ringer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Event
from typing import Self

from api import callers
from api.board import Board
from api.callers import KeyRing, Scribe
from api.decoding import Decoding
from api.estimates import Estimates
from api.fetching import Fetcher
from api.gate import PATIENCE, Gate
from api.metrics import Metrics
from api.moderator import Moderator
from api.probes import Probes
from api.retrievals import Retrievals
from api.streams import Streams
from api.turns import Crowd, Room, Turns
from domain import catalogue
from domain.catalogue import Catalogue
from runtime.settings import Settings
from storage import hints
from storage.admin_keys import AdminKey
from storage.database import Database
from storage.hints import Bell, Ringer
from storage.keys import Caller
from storage.objects import ObjectStore
from storage.ratelimit import Limiter

MOST_DETECTIONS = 4  # files of strangers that are verified at once
TRIALS = Room(places=2, of_a_tenant=1, waiting=0, patience_seconds=0)  # tests of webhook endpoints
MOST_STRANGERS = 32  # bodies of strangers that arrive, or wait for that, at once


@dataclass(frozen=True, slots=True)
class Services:
    """Opened once a process, shared by all of its threads."""

    settings: Settings
    database: Database
    objects: ObjectStore
    crowd: Crowd
    gate: Gate
    catalogue: Catalogue
    ringer: Ringer
    keys: KeyRing[Caller]
    admins: KeyRing[AdminKey]
    scribe: Scribe
    estimates: Estimates
    probes: Probes
    moderator: Moderator
    board: Board
    strangers: BoundedSemaphore  # places for the bodies of requests that need no key
    detections: BoundedSemaphore  # places for files that strangers have verified
    batch_wanted: Event  # set whenever a batch has something to do
    retrievals: Retrievals
    streams: Streams
    limiter: Limiter
    decoding: Decoding
    trials: Turns
    fetcher: Fetcher
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
        keys = callers.of_tenants(database, settings.peppers)
        admins = callers.of_administrators(database, settings.peppers)
        models = catalogue.load(Path(settings.models_file), testcard=settings.testcard)
        probes = Probes(database, objects, bell)
        crowd = Crowd()
        moderator = Moderator(settings.moderation_url, settings.moderation_timeout_seconds, crowd)
        estimates = Estimates(database)
        return cls(
            settings=settings,
            database=database,
            objects=objects,
            crowd=crowd,
            gate=Gate(crowd),
            catalogue=models,
            ringer=Ringer(bell),
            keys=keys,
            admins=admins,
            scribe=Scribe((keys, admins)),
            estimates=estimates,
            probes=probes,
            moderator=moderator,
            board=Board(database, models, probes, moderator),
            strangers=BoundedSemaphore(MOST_STRANGERS),
            detections=BoundedSemaphore(MOST_DETECTIONS),
            batch_wanted=Event(),
            retrievals=Retrievals(),
            streams=Streams(database, estimates),
            limiter=Limiter(settings.redis_url),
            decoding=Decoding(crowd),
            trials=Turns(TRIALS, "Too many webhook tests are under way.", crowd),
            fetcher=Fetcher(crowd, allow_loopback=settings.webhook_allow_loopback),
            metrics=metrics,
        )

    def close(self) -> None:
        """Lets threads end and closes connections."""
        self.streams.close()
        self.decoding.close()
        self.ringer.stop()
        self.limiter.close()
        self.scribe.stop()
        self.probes.close()
        self.moderator.close()
        self.database.close()
