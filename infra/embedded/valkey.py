"""Valkey on loopback: password, append-only file synced every second, never evicting; files in DIR/valkey."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import redis

from infra.embedded.private import private_directory, write_private
from infra.embedded.process import Program, inherited_environment
from infra.embedded.programs import valkey_server

DATABASES = 64  # the tests give every worker one of its own


@dataclass(frozen=True, slots=True)
class Valkey:
    """One server: where its files are and how to reach it."""

    data: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        """Database 0 as redis-py and Celery want it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def program(self) -> Program:
        """The server as the supervisor runs it."""
        return Program(
            name="valkey",
            argv=(str(valkey_server()), str(self._home / "valkey.conf")),
            env=inherited_environment(),
            log=self.data / "logs" / "valkey.log",
            cwd=self.data,
            prepare=self._write_configuration,
            ready=self.answer,
        )

    def answer(self) -> None:
        """Makes sure that the server has read its file and takes commands. Raises redis.RedisError."""
        with redis.Redis(port=self.port, password=self.password, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()  # pyright: ignore[reportUnknownMemberType] - redis-py leaves **kwargs untyped

    @property
    def _home(self) -> Path:
        return self.data / "valkey"

    def _write_configuration(self) -> None:
        """A file and not arguments: everybody may read a command line."""
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {_quoted(private_directory(self._home))}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            f"databases {DATABASES}",
            "daemonize no",
            'logfile ""',
        )
        write_private(self._home / "valkey.conf", "\n".join(lines) + "\n")


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
