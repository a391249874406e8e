"""The three servers together: where they are, and how to start and stop them on one data directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from infra.embedded import ports, seaweedfs, secret_folder
from infra.embedded.credentials import Credentials
from infra.embedded.errors import StackError, explain_os_error
from infra.embedded.own_servers import refuse_unreachable
from infra.embedded.postgres import LOGIN, OWNER, Postgres
from infra.embedded.private import read_json
from infra.embedded.process import Program
from infra.embedded.seaweedfs import SeaweedFS
from infra.embedded.supervisor import Supervisor
from infra.embedded.valkey import Valkey

ATTEMPTS = 3
PREFIX = "KINEMA_"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How to reach Postgres, the Redis protocol and S3; each field is the setting KINEMA_<FIELD>."""

    database_url: str  # as the application's login
    owner_database_url: str  # as the owner of the tables, for migrations
    redis_url: str
    s3_endpoint_url: str
    s3_access_key: str
    s3_secret_key: str
    s3_bucket: str
    s3_region: str

    def environment(self) -> dict[str, str]:
        """The settings that point Kinema at these servers."""
        return {f"{PREFIX}{name.upper()}": value for name, value in asdict(self).items()}

    def as_json(self) -> dict[str, str]:
        """The inverse of `read`."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, str]) -> Self:
        """From a JSON object with the same names."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Stack:
    """Running servers and the supervisor that keeps them."""

    data: Path
    endpoints: Endpoints
    credentials: Credentials
    supervisor: Supervisor

    def stop(self) -> None:
        """Stops everything that the supervisor runs, within its bound."""
        self.supervisor.stop()


def start(data: Path, supervisor: Supervisor | None = None) -> Stack:
    """Starts what no KINEMA_* variable points elsewhere, as one stage; returns when every server really answers.

    Raises StackError (with nothing left running) and, when a signal came first, supervisor.Stopped.
    """
    supervisor = supervisor or Supervisor(data)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _start_once(supervisor)
        except StackError as error:
            supervisor.stop()
            if not error.port_taken or attempt == ATTEMPTS:
                raise
        except OSError as error:
            supervisor.stop()
            raise explain_os_error(error, supervisor.data) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def located(data: Path) -> Endpoints:
    """Where the servers of a data directory are, if they run. Raises StackError when none ever did."""
    numbers = {name: int(port) for name, port in read_json(data / "ports.json").items()}
    if not {"postgres", "valkey", *seaweedfs.PORTS} <= numbers.keys() or not (data / "secrets").is_dir():
        raise StackError(f"{data} is no data directory of `kinema up`.")
    return _embedded(*_servers(data, numbers))


def _servers(data: Path, numbers: Mapping[str, int]) -> tuple[Postgres, Valkey, SeaweedFS, Credentials]:
    credentials = Credentials.of(data)
    postgres = Postgres(data, numbers["postgres"], credentials.postgres_owner)
    valkey = Valkey(data, numbers["valkey"], credentials.valkey)
    store = SeaweedFS(data, numbers, credentials.s3_access_key, credentials.s3_secret_key, credentials.s3_kek)
    return postgres, valkey, store, credentials


def _start_once(supervisor: Supervisor) -> Stack:
    supervisor.own_data()
    data = supervisor.data
    secret_folder.settle(data)
    numbers = ports.assign(data / "ports.json", ("postgres", "valkey", *seaweedfs.PORTS))
    postgres, valkey, store, credentials = _servers(data, numbers)
    endpoints = _with_own_servers(_embedded(postgres, valkey, store, credentials), os.environ)
    refuse_unreachable(os.environ)
    supervisor.start(_needed(postgres, valkey, store))
    return Stack(data, endpoints, credentials, supervisor)


def _embedded(postgres: Postgres, valkey: Valkey, store: SeaweedFS, credentials: Credentials) -> Endpoints:
    return Endpoints(
        database_url=postgres.url(LOGIN, credentials.postgres_app),
        owner_database_url=postgres.url(OWNER, credentials.postgres_owner),
        redis_url=valkey.url,
        s3_endpoint_url=store.url,
        s3_access_key=store.access_key,
        s3_secret_key=store.secret_key,
        s3_bucket=seaweedfs.BUCKET,
        s3_region=seaweedfs.REGION,
    )


def _with_own_servers(embedded: Endpoints, environment: Mapping[str, str]) -> Endpoints:
    """Replaces the addresses of servers that the user runs; for S3 the keys and the bucket come along."""
    changes: dict[str, str] = {}
    if url := environment.get("KINEMA_DATABASE_URL"):
        changes |= {"database_url": url, "owner_database_url": environment.get("KINEMA_OWNER_DATABASE_URL", url)}
    if url := environment.get("KINEMA_REDIS_URL"):
        changes["redis_url"] = url
    if url := environment.get("KINEMA_S3_ENDPOINT_URL"):
        changes |= {"s3_endpoint_url": url, **_own_s3(environment)}
    return replace(embedded, **changes)


def _own_s3(environment: Mapping[str, str]) -> dict[str, str]:
    names = ("s3_access_key", "s3_secret_key", "s3_bucket")
    values = {name: environment.get(f"{PREFIX}{name.upper()}", "") for name in names}
    missing = [f"{PREFIX}{name.upper()}" for name, value in values.items() if not value]
    if missing:
        raise StackError(f"KINEMA_S3_ENDPOINT_URL names your own store: set {', '.join(missing)} too.")
    return {**values, "s3_region": environment.get("KINEMA_S3_REGION", seaweedfs.REGION)}


def _needed(postgres: Postgres, valkey: Valkey, store: SeaweedFS) -> list[Program]:
    """The servers to run here. Postgres comes last: its first start runs initdb while the others already warm up."""
    servers = {
        "KINEMA_S3_ENDPOINT_URL": store.program,
        "KINEMA_REDIS_URL": valkey.program,
        "KINEMA_DATABASE_URL": postgres.program,
    }
    return [program() for variable, program in servers.items() if not os.environ.get(variable)]
