"""Behind PgBouncer in transaction mode: eight clients of two tenants share two connections to Postgres."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from infra.embedded.postgres import LOGIN
from storage import keys, tenants
from storage.database import SERVICE_ROLE, TENANT_ROLE, Database

CLIENTS, TRANSACTIONS, SERVER_CONNECTIONS = 8, 100, 2
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer on PATH (apt-get install pgbouncer)")
SEEN = sa.text(
    "SELECT current_user::text, current_setting('kinema.tenant', true), pg_backend_pid(),"
    " ARRAY(SELECT DISTINCT tenant_id FROM api_keys)"
)


@pytest.fixture
def pooled_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The database through a pooler that keeps no state between two transactions and resets none either."""
    url = make_url(database_url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = f"host={url.host} port={url.port} dbname={url.database} user={url.username} password={url.password}"
    limits = f"default_pool_size = {SERVER_CONNECTIONS}\nmin_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 100"
    listening = f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any"
    config = tmp_path / "pgbouncer.ini"
    config.write_text(f"[databases]\npooled = {server}\n[pgbouncer]\npool_mode = transaction\n{limits}\n{listening}\n")
    assert PGBOUNCER is not None
    process = subprocess.Popen([PGBOUNCER, "-q", "-u", "nobody", str(config)])
    pooled = url.set(host="127.0.0.1", port=port, database="pooled")
    try:
        _await(pooled.set(drivername="postgresql").render_as_string(hide_password=False))
        yield pooled.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(10)


def _await(url: str) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, "the pooler does not answer"
            time.sleep(0.1)
        else:
            return


def test_no_transaction_sees_another_tenant_through_a_pooler(database: Database, pooled_url: str) -> None:
    with database.transaction_for_any_tenant() as connection:
        owners = [tenants.create_for_any_tenant(connection, name).id for name in ("alice", "bob")]
        for owner in owners:
            keys.issue_for_any_tenant(connection, owner, "test", b"pepper", "1")

    def work(client: int) -> tuple[set[int], list[object]]:
        mine: UUID = owners[client % 2]
        backends: set[int] = set()
        leaks: list[object] = []
        with closing(Database(pooled_url, pool_size=1)) as pooled:
            for turn in range(TRANSACTIONS):
                try:
                    with pooled.transaction(mine) as connection:
                        seen = tuple(connection.execute(SEEN).one())
                        backends.add(seen[2])
                        if (seen[0], seen[1], seen[3]) != (TENANT_ROLE, str(mine), [mine]):
                            leaks.append(seen)
                        if turn % 5 == 0:
                            connection.execute(sa.text("SELECT 1 / 0"))
                except sa.exc.DBAPIError:
                    assert turn % 5 == 0
                with pooled.engine.connect() as bare, bare.begin():  # what the last one left on the server's side
                    left = tuple(
                        bare.execute(sa.text("SELECT current_user::text, current_setting('kinema.tenant', true)")).one()
                    )
                    if left not in {(LOGIN, None), (LOGIN, "")}:
                        leaks.append(left)
                if turn % 10 == 0:
                    with pooled.transaction_for_any_tenant() as connection:
                        role, _, _, everybody = connection.execute(SEEN).one()
                        if role != SERVICE_ROLE or set(everybody) != set(owners):
                            leaks.append((role, everybody))
        return backends, leaks

    with ThreadPoolExecutor(CLIENTS) as threads:
        found = list(threads.map(work, range(CLIENTS)))
    used = set[int]().union(*(backends for backends, _ in found))
    leaks = [leak for _, of_client in found for leak in of_client]
    print(
        f"{CLIENTS} clients, {len(used)} server connections, {CLIENTS * TRANSACTIONS} transactions, {len(leaks)} leaks"
    )
    assert leaks == []
    assert len(used) <= SERVER_CONNECTIONS, "else nothing was shared"
