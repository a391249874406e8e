"""SeaweedFS (`weed mini`) as the S3 store on loopback: telemetry off, files in DIR/seaweedfs."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from infra.embedded.ports import GRPC_OFFSET
from infra.embedded.private import private_directory
from infra.embedded.process import Program, inherited_environment
from infra.embedded.programs import weed

if TYPE_CHECKING:
    from storage.objects import ObjectStore

PORTS = ("s3", "s3_master", "s3_volume", "s3_filer", "s3_admin")
BUCKET = "kinema"
REGION = "us-east-1"
PROBE = "embedded/ready"
SOCKETS = Path("/tmp")  # noqa: S108 - where weed insists on putting them
MEMORY = "400MiB"  # less makes the collector burn a core when idle; without a limit it grows past 560 MB


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """One server: where its files are and how to reach it."""

    data: Path
    ports: Mapping[str, int]
    access_key: str
    secret_key: str
    kek: str

    @property
    def url(self) -> str:
        """The S3 endpoint."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    def program(self) -> Program:
        """The server as the supervisor runs it."""
        home = self.data / "seaweedfs"
        return Program(
            name="seaweedfs",
            argv=(str(weed()), "-logtostderr=true", "mini", f"-dir={home}", *self._ports(), *_FLAGS),
            env={
                **inherited_environment(),
                "HOME": str(home),  # keeps it from reading a ~/.seaweedfs
                "AWS_ACCESS_KEY_ID": self.access_key,
                "AWS_SECRET_ACCESS_KEY": self.secret_key,
                "WEED_S3_SSE_KEK": self.kek,
                "GOMEMLIMIT": MEMORY,
            },
            log=self.data / "logs" / "seaweedfs.log",
            cwd=self.data,
            prepare=self._prepare,
            tidy=self._remove_sockets,
            ready=self.answer,
        )

    def answer(self) -> None:
        """Makes the bucket, writes an object and deletes it: only that proves the volume server is up. Raises."""
        store = _store(self.url, self.access_key, self.secret_key)
        socket.create_connection(
            ("127.0.0.1", self.ports["s3"]), timeout=1
        ).close()  # boto3 would wait between its tries
        store.ensure_bucket()
        store.put(PROBE, b"ready", content_type="text/plain")
        store.delete([PROBE])

    def _ports(self) -> tuple[str, ...]:
        names = {"s3": "s3", "master": "s3_master", "volume": "s3_volume", "filer": "s3_filer", "admin": "s3_admin"}
        return tuple(f"-{flag}.port={self.ports[name]}" for flag, name in names.items())

    def _prepare(self) -> None:
        private_directory(self.data / "seaweedfs")
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        """The volume server waits 5 to 15 s when it meets a socket of an earlier run."""
        for name in PORTS:
            for port in (self.ports[name], self.ports[name] + GRPC_OFFSET):
                for stale in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                    stale.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _store(url: str, access_key: str, secret_key: str) -> ObjectStore:
    from storage.objects import ObjectStore  # noqa: PLC0415 - boto3 takes half a second, while the servers start

    return ObjectStore(url, access_key, secret_key, BUCKET, region=REGION)


_FLAGS = (
    "-master.resumeState=false",  # one master alone: resuming its election makes the volume server miss it and wait 5 s
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.autoCreateBucket=false",
    "-s3.allowDeleteBucketNotEmpty=false",
)
