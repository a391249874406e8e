"""The servers that every other test stands on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import redis

from storage.objects import ObjectStore
from tests.infra.embedded.keeper import ROOT, eventually, gone


def rows(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_test_gets_a_migrated_database_of_its_own(owner_url: str) -> None:
    assert rows(owner_url, "SELECT count(*) FROM videos") == [(0,)]
    rows(owner_url, "CREATE TABLE left_behind (id int)")


def test_the_next_test_does_not_see_what_the_last_one_left(owner_url: str) -> None:
    assert rows(owner_url, "SELECT to_regclass('left_behind')") == [(None,)]


def test_the_application_logs_in_as_itself(database_url: str) -> None:
    assert rows(database_url, "SELECT current_user::text") == [("kinema_login",)]


def test_valkey_is_empty_and_writable(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.set("key", "value")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_bucket_keeps_what_is_put(object_store: ObjectStore) -> None:
    object_store.put("fixtures/one", b"bytes", content_type="text/plain")
    with object_store._client.get_object(Bucket=object_store.bucket, Key="fixtures/one")["Body"] as body:
        assert body.read() == b"bytes"
    object_store.delete(["fixtures/one"])


def test_a_killed_test_run_leaves_no_server_and_no_data_behind(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text(
        "import pathlib, time\n"
        "def test_it(stack):\n"
        "    pids = [pid for group in stack.processes().values() for pid in group]\n"
        f"    pathlib.Path({str(tmp_path / 'facts')!r}).write_text(' '.join(map(str, [stack.data, *pids])))\n"
        "    time.sleep(60)\n"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KINEMA_TEST", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-n", "1", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = {**own, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    eventually(lambda: len((tmp_path / "facts").read_text().split()) == 4, within=60)
    directory, *pids = (tmp_path / "facts").read_text().split()
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    eventually(lambda: gone([int(pid) for pid in pids]), within=10)
    eventually(lambda: not Path(directory).exists(), within=10)
