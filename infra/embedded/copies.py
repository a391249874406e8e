"""A copy of a data directory that a new one can be made from: database, objects, secrets; and the way back.

DIR/manifest.json is written last: a copy without it was interrupted, and is no copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import psycopg
from psycopg import IsolationLevel
from psycopg.sql import SQL, Identifier

from domain.errors import NotFound
from infra.embedded.errors import StackError
from infra.embedded.private import private_directory, read_json, write_private_json
from infra.embedded.process import inherited_environment
from infra.embedded.programs import postgres_binaries
from infra.embedded.secret_folder import SECRETS, STACK
from infra.embedded.stack import Endpoints
from storage.objects import ObjectStore
from storage.reconciliation import RAISE_FENCES

DUMP, OBJECTS, MANIFEST = "database.dump", "objects", "manifest.json"
CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".jsonl": "application/jsonl",
}


def make(data: Path, at: Endpoints, target: Path, *, with_objects: bool) -> int:
    """Copy what runs on `data` into the new folder `target`; how many objects. Raises StackError, Unavailable."""
    if target.exists():
        raise StackError(f"{target} is there already: name a new folder for each backup.")
    draft = private_directory(target.with_name(f".{target.name}.{os.getpid()}"))
    try:
        with tempfile.TemporaryFile("w+", dir=draft) as keys:
            _dump(data, at, draft / DUMP, keys)
            shutil.copytree(data / SECRETS, draft / SECRETS)  # keeps 0600
            count = _copy_objects(at, keys, draft / OBJECTS) if with_objects else 0
        facts = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), "with_objects": with_objects}
        write_private_json(draft / MANIFEST, {**facts, "objects": count})
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return count


def check(source: Path) -> None:
    """Raises StackError for what is no whole copy."""
    read = all(map(read_json, (source / MANIFEST, source / SECRETS / STACK)))
    if not read or not (source / DUMP).is_file():
        raise StackError(f"{source} is no complete backup.")


def restore_database(source: Path, at: Endpoints) -> None:
    """Put the copy in the place of the database, which stays as it is until the copy is whole. Raises StackError."""
    name = _database(at)
    draft = f"{name}_restoring"
    with _administrator(at) as connection:
        _drop(connection, draft)
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY wal_log").format(Identifier(draft)))
        _run("pg_restore", at, draft, ("--exit-on-error", "--single-transaction", str(source / DUMP)))
        _raise_fences(at, draft)
        _replace(connection, name, draft)


def _replace(connection: psycopg.Connection, name: str, draft: str) -> None:
    """In one transaction, so that there is a whole database under the name at every moment."""
    before = f"{name}_before"
    _drop(connection, before)
    with connection.transaction():
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        for old, new in ((name, before), (draft, name)):
            connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(old), Identifier(new)))
    _drop(connection, before)


def _drop(connection: psycopg.Connection, database: str) -> None:
    connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(database)))


def _raise_fences(at: Endpoints, database: str) -> None:
    """What the later time wrote under its fences is in the store still: none of them is given out again."""
    with psycopg.connect(_address(at, database)) as connection:
        for statement in RAISE_FENCES:
            connection.execute(statement.encode())


def restore_objects(source: Path, at: Endpoints) -> int:
    """Put the copied objects; how many. Raises Unavailable."""
    store = _store(at)
    count = 0
    for path in _files(source / OBJECTS):
        store.put(path.relative_to(source / OBJECTS).as_posix(), path, CONTENT_TYPES[path.suffix])
        count += 1
    return count


def _dump(data: Path, at: Endpoints, target: Path, keys: TextIO) -> None:
    """The database, and a line for each object that it wants to keep, both of one moment.

    The transaction ends before objects are copied: an old one keeps Postgres from clearing up.
    """
    with _connect(data, at) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        snapshot = connection.execute("SELECT pg_export_snapshot()").fetchall()[0][0]
        arguments = ("--format=custom", f"--snapshot={snapshot}", f"--file={target}")
        _run("pg_dump", at, _database(at), arguments)
        with connection.cursor("kept") as cursor:
            cursor.execute("SELECT key FROM objects WHERE doomed_at IS NULL ORDER BY key")
            keys.writelines(f"{key}\n" for (key,) in cursor)


def _connect(data: Path, at: Endpoints) -> psycopg.Connection:
    """As the owner, past row-level security; idle in its transaction for as long as a dump takes."""
    try:
        return psycopg.connect(_address(at, _database(at)), options="-c idle_in_transaction_session_timeout=0")
    except psycopg.OperationalError as error:
        raise StackError(f"Nothing runs on {data}: start it with `kinema up`, then back it up.") from error


def _copy_objects(at: Endpoints, keys: TextIO, folder: Path) -> int:
    """Those of the keys, a line each, that are there; how many."""
    store = _store(at)
    count = 0
    keys.seek(0)
    for key in map(str.strip, keys):
        path = folder / key
        private_directory(path.parent)
        try:
            store.fetch(key, path)
        except NotFound:  # written down, and not put yet or deleted meanwhile
            continue
        path.chmod(0o600)
        count += 1
    return count


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _run(program: str, at: Endpoints, database: str, arguments: Sequence[str]) -> None:
    """One of Postgres' own tools; the address, which has the password, is no argument that `ps` shows."""
    account, _, server = at.owner_database_url.partition("://")[2].rpartition("@")
    user, _, password = account.partition(":")
    host, _, port = server.partition("/")[0].partition(":")
    told = {"PGUSER": user, "PGPASSWORD": password, "PGHOST": host, "PGPORT": port, "PGDATABASE": database}
    where = (f"--dbname={database}",) if program == "pg_restore" else ()
    ran = subprocess.run(
        (str(postgres_binaries() / program), *where, *arguments),
        env={**inherited_environment(), **told},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise StackError(f"{program} failed: {ran.stderr.strip()[-500:]}")


def _administrator(at: Endpoints) -> psycopg.Connection:
    return psycopg.connect(_address(at, "postgres"), autocommit=True)


def _database(at: Endpoints) -> str:
    return at.owner_database_url.rpartition("/")[2]


def _address(at: Endpoints, database: str) -> str:
    return f"{at.owner_database_url.replace('+psycopg', '', 1).rpartition('/')[0]}/{database}"


def _store(at: Endpoints) -> ObjectStore:
    return ObjectStore(at.s3_endpoint_url, at.s3_access_key, at.s3_secret_key, at.s3_bucket, region=at.s3_region)
