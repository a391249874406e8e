"""PostgreSQL on loopback: SCRAM passwords, durable settings, files in DIR/postgres."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import psutil
import psycopg

from infra.embedded.errors import explain, tail
from infra.embedded.private import private_directory, write_private
from infra.embedded.privileges import hand_over, postgres_identity, reachable_by_others
from infra.embedded.process import Program, inherited_environment, through_shim
from infra.embedded.programs import postgres_binaries

OWNER = "kinema_owner"
LOGIN = "kinema_login"
DATABASE = "kinema"
INITDB_SECONDS = 60
CONNECTIONS = 200
# The built-in provider sorts the same on every machine, and this build carries no ICU.
LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8")
# Syncing 40 MB holds the first start up by seconds; it happens while the server starts (see _initialise).
INITDB = ("-A", "scram-sha-256", "-E", "UTF8", "--no-sync", *LOCALE)


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster: where its files are and how to reach it."""

    data: Path
    port: int
    owner_password: str

    @property
    def cluster(self) -> Path:
        """The directory that Postgres calls PGDATA."""
        return self.data / "postgres" / "cluster"

    def url(self, user: str, password: str, database: str = DATABASE) -> str:
        """The address as SQLAlchemy wants it."""
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def program(self) -> Program:
        """The server as the supervisor runs it."""
        identity = postgres_identity()
        binaries = _binaries_for(identity, self.data)
        return Program(
            name="postgres",
            argv=(
                str(binaries / "postgres"),
                *("-D", str(self.cluster), "-h", "127.0.0.1", "-p", str(self.port), "-k", ""),
                *("-c", "shared_buffers=256MB", "-c", f"max_connections={CONNECTIONS}"),
                *("-c", "timezone=UTC", "-c", "log_timezone=UTC"),
            ),
            env=inherited_environment(),
            log=self.data / "logs" / "postgres.log",
            cwd=self.data,
            identity=identity,
            prepare=partial(self._prepare, binaries, identity),
            ready=self.answer,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, then checkpoints
            orphan_signal=signal.SIGINT,
        )

    def answer(self) -> None:
        """Makes sure that the server answers and that Kinema's database is there. Raises psycopg.Error."""
        with self._connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE} STRATEGY wal_log")

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=OWNER,
            password=self.owner_password,
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        )

    def _prepare(self, binaries: Path, identity: str) -> None:
        """Makes the cluster on first use; afterwards waits until an earlier server has let go of it."""
        if not self.cluster.exists():
            self._initialise(binaries, identity)
        hand_over(identity, self.cluster)
        _wait_until_released(self.cluster)

    def _initialise(self, binaries: Path, identity: str) -> None:
        """Runs initdb beside the final place and renames, so that an interrupted one leaves nothing half made."""
        home = private_directory(self.cluster.parent)
        draft, password = home / "draft", home / "password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        write_private(password, self.owner_password)
        if identity.startswith("user:"):
            home.chmod(0o711)
            hand_over(identity, draft)
            hand_over(identity, password)
        argv = (str(binaries / "initdb"), "-D", str(draft), "-U", OWNER, "--pwfile", str(password), *INITDB)
        self._run_initdb(argv, identity)
        password.unlink()
        draft.rename(self.cluster)
        threading.Thread(target=os.sync, name="sync-new-cluster", daemon=True).start()

    def _run_initdb(self, argv: tuple[str, ...], identity: str) -> None:
        log = self.data / "logs" / "initdb.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            result = subprocess.run(
                through_shim(argv, identity, signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=inherited_environment(),
                cwd="/",
                check=False,
                timeout=INITDB_SECONDS,
            )
        if result.returncode != 0:
            raise explain("Postgres (initdb)", self.data, tail(log), log)


def _binaries_for(identity: str, data: Path) -> Path:
    """The server's programs where `identity` can run them: copied below `data` when the environment is private."""
    binaries = postgres_binaries()
    if not identity.startswith("user:") or reachable_by_others(binaries):
        return binaries
    package = binaries.parent.parent
    copy = data / "postgres" / "software"
    if not copy.exists():
        draft = copy.with_name("software.draft")
        shutil.rmtree(draft, ignore_errors=True)
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, draft / part.name, symlinks=True)
        draft.rename(copy)
    copy.parent.chmod(0o711)
    return copy / package.name / "pginstall" / "bin"


def _wait_until_released(cluster: Path, seconds: float = 5.0) -> None:
    """Waits for the server named in postmaster.pid to end; forgets a number that now belongs to another program."""
    lock = cluster / "postmaster.pid"
    deadline = monotonic() + seconds
    while (pid := _owner_of(lock)) and monotonic() < deadline:
        if not _is_postgres(pid):
            lock.unlink(missing_ok=True)
            return
        sleep(0.05)


def _owner_of(lock: Path) -> int | None:
    """The process number in the first line of postmaster.pid, if there is one."""
    try:
        return int(lock.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
