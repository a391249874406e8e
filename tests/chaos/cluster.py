"""Kinema as real processes, two of each that may come in twos, behind proxies that misbehave on demand."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
import redis
from botocore.config import Config

from cli.first_run import ensure_api_key, migrate, signing_settings
from cli.processes import Surroundings, programs, table
from infra.embedded import ports
from infra.embedded.private import private_directory
from infra.embedded.process import Program
from infra.embedded.stack import Stack, start
from infra.embedded.supervisor import Supervisor
from tests.chaos.faults import LEASE_SECONDS, Fault
from tests.chaos.proxy import CALM, FaultProxy, Temper

POOL = "render.small"
QUICK = {
    "KINEMA_LEASE_SECONDS": str(LEASE_SECONDS),
    "KINEMA_BEAT_SECONDS": "0.5",
    "KINEMA_REAP_SECONDS": "0.5",
    "KINEMA_HINT_SECONDS": "0.5",
    "KINEMA_SNAPSHOT_SECONDS": "1",
    "KINEMA_SWEEP_GRACE_SECONDS": "5",
    "KINEMA_SWEEP_KEEP_SECONDS": "5",
    "KINEMA_STALL_SECONDS": "20",
    "KINEMA_DEAF_SECONDS": "20",
    "KINEMA_GRACE_SECONDS": "2",
    "KINEMA_TESTCARD": "true",
    "KINEMA_TESTCARD_STEP_SECONDS": "0.05",
    "KINEMA_WEBHOOK_ALLOW_LOOPBACK": "true",
    "KINEMA_LOG_LEVEL": "INFO",
}
SERVERS = {"store": "seaweedfs"}  # under which name the supervisor runs what a fault names
COPIES = {"api": 2, "dispatcher": 2, "render_worker": 2}
TEMPERS = {
    "slow": Temper(delay_seconds=0.2),
    "resets": Temper(resets=True),
    "refuses": Temper(refuses=True),
    "swallows": Temper(swallows=True),
}


@dataclass
class Cluster:
    """What runs, and how to break it. `mend` undoes the fault that came before."""

    supervisor: Supervisor
    stack: Stack
    proxies: dict[str, FaultProxy]
    base_urls: tuple[str, str]
    api_key: str
    trust_root: str

    def strike(self, fault: Fault) -> Callable[[], None] | None:
        """Break one thing; what is returned mends it. None if it was down already."""
        what, *rest = fault.kind.split()
        if fault.kind == "kill render child":
            return self._kill_child(fault)
        if what in STRIKES:
            return STRIKES[what](self, "_".join(rest), fault)
        return self._misbehave(what, TEMPERS[rest[0]])

    def stored(self) -> frozenset[str]:
        """The keys that the store lists."""
        at = self.stack.endpoints
        client: Any = boto3.client(
            "s3",
            endpoint_url=at.s3_endpoint_url,
            aws_access_key_id=at.s3_access_key,
            aws_secret_access_key=at.s3_secret_key,
            region_name=at.s3_region,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=at.s3_bucket)
        return frozenset(each["Key"] for page in pages for each in page.get("Contents", ()))

    def _pick(self, group: str, fault: Fault) -> int | None:
        pids = self.supervisor.processes().get(SERVERS.get(group, group), [])
        return pids[int(fault.pick * len(pids))] if pids else None

    def _signal(self, group: str, fault: Fault, number: signal.Signals) -> int | None:
        """Who was hit, with its whole group; None if nobody is there."""
        pid = self._pick(group, fault)
        try:
            if pid is not None:
                os.killpg(pid, number)
        except ProcessLookupError:
            return None
        return pid

    def _kill(self, group: str, fault: Fault) -> Callable[[], None] | None:
        return None if self._signal(group, fault, signal.SIGKILL) is None else nothing

    def _stop(self, group: str, fault: Fault) -> Callable[[], None] | None:
        """Postgres calls this an immediate shutdown: as after a loss of power, it recovers from its log."""
        pid = self._pick(group, fault)
        try:
            if pid is not None:
                os.kill(pid, signal.SIGQUIT)
        except ProcessLookupError:
            return None
        return None if pid is None else nothing

    def _kill_child(self, fault: Fault) -> Callable[[], None] | None:
        pid, killed = self._pick("render_worker", fault), 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(pid).children() if pid is not None else ():
                child.kill()
                killed += 1
        return nothing if killed else None

    def _freeze(self, group: str, fault: Fault) -> Callable[[], None] | None:
        pid = self._signal(group, fault, signal.SIGSTOP)
        if pid is None:
            return None

        def thaw() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

        return thaw

    def _flush(self, _group: str, _fault: Fault) -> Callable[[], None] | None:
        try:
            with redis.Redis.from_url(self.stack.endpoints.redis_url, socket_timeout=2) as client:
                client.flushall()
        except redis.RedisError:
            return None
        return nothing

    def _misbehave(self, server: str, temper: Temper) -> Callable[[], None]:
        proxy = self.proxies[server]
        proxy.behave(temper)
        return lambda: proxy.behave(CALM)


STRIKES = {"kill": Cluster._kill, "freeze": Cluster._freeze, "stop": Cluster._stop, "flush": Cluster._flush}


def launch(
    data: Path, supervisor: Supervisor, module: str = "cli.main", copies: Mapping[str, int] | None = None
) -> Cluster:
    """Start everything. `module` is what workers run: a test puts another one there to show that guards matter.

    `copies` says how many there are of a process where that is other than usual.
    """
    wanted = {**COPIES, **(copies or {})}
    supervisor.own_data()
    stack = start(supervisor.data, supervisor)
    migrate(stack)
    numbers = ports.assign(data / "ports.json", ("api", "api-2", "moderator"), {})
    proxies = {
        "postgres": FaultProxy(_port(stack.endpoints.database_url)),
        "valkey": FaultProxy(_port(stack.endpoints.redis_url)),
        "store": FaultProxy(_port(stack.endpoints.s3_endpoint_url)),
    }
    environment = _environment(stack, numbers, proxies)
    direct = {**environment, "KINEMA_DATABASE_URL": stack.endpoints.database_url}
    api_key = ensure_api_key(stack.data, direct)
    signing = signing_settings(stack.data)
    rows = tuple(replace(row, copies=wanted.get(row.name, 1)) for row in table(POOL, 2))
    around = Surroundings(stack.data, environment, signing, numbers)
    supervisor.start([_adapted(program, numbers, module) for program in programs(rows, around)])
    urls = tuple(f"http://127.0.0.1:{numbers[name]}/v1" for name in ("api", "api-2"))
    return Cluster(supervisor, stack, proxies, (urls[0], urls[1]), api_key, signing["KINEMA_PROVENANCE_ROOT_FILE"])


def _adapted(program: Program, numbers: dict[str, int], module: str) -> Program:
    env = dict(program.env)
    if program.name == "api-2":
        env["KINEMA_API_PORT"] = str(numbers["api-2"])
    argv = tuple(module if part == "cli.main" and "worker" in program.name else part for part in program.argv)
    ready = None if program.name.startswith("api") else program.ready
    return replace(program, env=env, argv=argv, ready=ready)


def _environment(stack: Stack, numbers: dict[str, int], proxies: dict[str, FaultProxy]) -> dict[str, str]:
    served = stack.endpoints.environment()
    del served["KINEMA_OWNER_DATABASE_URL"]
    for variable, server in (
        ("KINEMA_DATABASE_URL", "postgres"),
        ("KINEMA_REDIS_URL", "valkey"),
        ("KINEMA_S3_ENDPOINT_URL", "store"),
    ):
        served[variable] = served[variable].replace(f":{_port(served[variable])}", f":{proxies[server].port}")
    own = {
        "KINEMA_KEY_PEPPER": stack.credentials.key_pepper,
        "KINEMA_WEBHOOK_KEY": stack.credentials.webhook_key,
        "KINEMA_API_HOST": "127.0.0.1",
        "KINEMA_API_PORT": str(numbers["api"]),
        "KINEMA_MODERATOR_PORT": str(numbers["moderator"]),
        "KINEMA_MODERATION_URL": f"http://127.0.0.1:{numbers['moderator']}",
        "KINEMA_WORK_DIR": str(private_directory(stack.data / "work")),
        "KINEMA_MODELS_FILE": str(Path(__file__).parents[2] / "models.toml"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KINEMA_")}
    return {**kept, **QUICK, **own, **served}


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


def nothing() -> None:
    """What has been killed is started again by the supervisor."""
