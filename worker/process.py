"""What one worker process owns for as long as it lives: connections, models, keys. Nothing here is per video."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from domain import catalogue
from domain.catalogue import Catalogue
from engines.registry import Registry
from moderation import frames
from moderation.frames import FrameClassifier
from moderation.provenance import Notary
from moderation.signing import local_identity
from runtime.settings import Settings
from storage.database import Database
from storage.hints import DELIVER, Bell, Ringer, broker
from storage.objects import ObjectStore
from storage.workers import Worker
from worker import workplace
from worker.draining import Draining
from worker.store import open_store

GENERATOR_VERSION = "0.1.0"


def name_of(pid: int) -> str:
    """What a process of this host is called among workers."""
    return f"{socket.gethostname()}:{pid}"


class Process:
    """Everything is made at first use, so that a process loads only what its queues need."""

    def __init__(self, settings: Settings, queues: tuple[str, ...]) -> None:
        self.settings = settings
        self.worker = Worker(name_of(os.getpid()), queues, socket.gethostname(), os.getpid())
        self.draining = Draining()
        self._making = threading.Lock()
        workplace.clear(self._work_dir)

    @cached_property
    def ringer(self) -> Ringer:
        """Rings for other workers. It publishes over connections of its own: the listening ones may wait longer."""
        return Ringer(Bell(broker(self.settings.redis_url)))

    @cached_property
    def database(self) -> Database:
        """A small pool: the work, its heartbeat, presence, ears; a renderer's tail and its heartbeat besides.

        Deliverers are many and hold none for long.
        """
        delivers = DELIVER in self.worker.queues
        return Database(self.settings.database_url, pool_size=12 if delivers else 6 if self._renders else 4)

    @cached_property
    def store(self) -> ObjectStore:
        """The object store. Two threads may ask first, and clients are made one at a time."""
        with self._making:
            return open_store(self.settings)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The models of this installation."""
        return catalogue.load(Path(self.settings.models_file), testcard=self.settings.testcard)

    @cached_property
    def engines(self) -> Registry:
        """Loaded models; renderers only."""
        root = Path(self.settings.models_file).resolve().parent
        step_seconds = self.settings.testcard_step_seconds
        return Registry(self.catalogue, root, testcard_step_seconds=step_seconds, scratch=self._work_dir)

    @cached_property
    def notary(self) -> Notary:
        """Holds the signing key; io workers only. Made after the process was spawned, as c2pa demands."""
        key = Path(self.settings.provenance_key_file).read_bytes()
        chain = Path(self.settings.provenance_cert_file).read_text()
        return Notary(local_identity(key, chain), GENERATOR_VERSION)

    @cached_property
    def frame_classifier(self) -> FrameClassifier | None:
        """What looks at inputs and results; io workers only."""
        return frames.load(self.settings.frame_classifier)

    def folder(self) -> AbstractContextManager[Path]:
        """A private place for drafts, gone when the stage ends."""
        return workplace.folder(self._work_dir)

    @property
    def _renders(self) -> bool:
        return any(queue.startswith("render.") for queue in self.worker.queues)

    @property
    def _work_dir(self) -> Path:
        return Path(self.settings.work_dir or tempfile.gettempdir())
