"""The three servers under their launcher: kill -9 of everything, restarts, strangers on their ports, other users."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from infra.embedded import privileges
from infra.embedded.errors import StackError
from infra.embedded.private import read_json
from infra.embedded.stack import start
from tests.infra.embedded.keeper import ALL, Keeper, bucket, eventually, gone, kept, plain, remember, remembered

pytestmark = pytest.mark.timeout(300)  # each start takes a second, and many more when the machine is busy

MOUNT, UMOUNT = (shutil.which(name) or name for name in ("mount", "umount"))


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """Not below pytest's own directory, which is closed to other users."""
    path = Path(tempfile.mkdtemp(prefix="kinema-stack-"))
    path.chmod(0o711)
    yield path / "data"
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data() -> Iterator[Path]:
    """Where nothing has run yet."""
    with public_directory() as path:
        yield path


@pytest.fixture(scope="module")
def keeper() -> Iterator[Keeper]:
    """One running stack for all tests that leave it running."""
    with public_directory() as path, kept(path) as running:
        yield running


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_killed_server_is_back_within_two_seconds_with_what_it_had_confirmed(keeper: Keeper, name: str) -> None:
    remember(keeper.endpoints, f"before {name}")
    sleep(1.1)  # Valkey writes its file once a second
    victim = keeper.pid(name)
    os.kill(victim, signal.SIGKILL)
    killed = monotonic()
    eventually(lambda: keeper.pid(name) not in {0, victim}, within=2.0)
    eventually(lambda: remembered(keeper.endpoints, f"before {name}") == ALL, within=15.0)
    print(f"{name} answered {monotonic() - killed:.2f} s after its death")
    remember(keeper.endpoints, f"after {name}")
    assert remembered(keeper.endpoints, f"after {name}") == ALL


def test_no_server_outlives_a_killed_launcher_and_the_next_one_finds_data_and_addresses_until_it_stops(
    data: Path,
) -> None:
    with kept(data) as keeper:
        endpoints, pids = keeper.endpoints, keeper.pids()
        remember(endpoints, "first")
        sleep(1.1)  # Valkey writes its file once a second
        keeper.process.kill()
        eventually(lambda: gone(pids), within=5.0)
    with kept(data) as keeper:
        assert keeper.endpoints == endpoints
        assert remembered(endpoints, "first") == ALL
        pids = keeper.pids()
        assert keeper.stop() < 10
        assert gone(pids)
        assert not (data / "stack.json").exists()


def test_a_port_that_a_stranger_took_meanwhile_is_replaced_and_nothing_is_lost(data: Path) -> None:
    with kept(data) as keeper:
        remember(keeper.endpoints, "first")
        keeper.stop()
    ports = read_json(data / "ports.json")
    strangers = [socket.create_server(("127.0.0.1", ports[name])) for name in ("s3_master", "postgres")]
    with contextlib.closing(strangers[0]), contextlib.closing(strangers[1]), kept(data) as keeper:
        moved = read_json(data / "ports.json")
        assert {name for name in ports if ports[name] != moved[name]} == {"s3_master", "postgres"}
        assert remembered(keeper.endpoints, "first") == ALL
        remember(keeper.endpoints, "second")
        assert remembered(keeper.endpoints, "first") == ALL


def test_a_second_launcher_on_the_same_data_is_refused_with_a_sentence(keeper: Keeper) -> None:
    with pytest.raises(StackError, match=f"already runs on {keeper.data} .process {keeper.process.pid}."):
        start(keeper.data)
    remember(keeper.endpoints, "undisturbed")


def test_servers_that_the_user_runs_are_used_and_none_is_started(
    keeper: Keeper, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keeper.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KINEMA_DATABASE_URL", keeper.endpoints.owner_database_url)
    stack = start(data)
    try:
        assert stack.supervisor.processes() == {}
        remember(stack.endpoints, "on foreign ground")
        assert remembered(keeper.endpoints, "on foreign ground") == ALL
    finally:
        stack.stop()


def test_secrets_are_for_their_owner_only_and_no_command_line_shows_them(keeper: Keeper) -> None:
    data = keeper.data
    for path in (data / "secrets" / "stack.json", data / "stack.json", data / "valkey" / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = [value for value in read_json(data / "secrets" / "stack.json").values() if value]
    lines = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in keeper.pids()) if os.name == "posix" else ""
    assert "postgres" in lines
    assert not any(secret in lines for secret in secrets)


def test_postgres_is_durable_and_wants_a_password(keeper: Keeper) -> None:
    with psycopg.connect(plain(keeper.endpoints)) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)
        assert connection.execute("SELECT datlocprovider FROM pg_database WHERE datname = 'kinema'").fetchone() == (
            "b",
        )
    without = plain(keeper.endpoints).split("@")[1]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://kinema_owner:wrong@{without}")


def test_objects_can_be_encrypted_at_rest_by_the_store(keeper: Keeper) -> None:
    client = bucket(keeper.endpoints)._client
    client.put_object(Bucket="kinema", Key="sealed", Body=b"secret words", ServerSideEncryption="AES256")
    assert client.head_object(Bucket="kinema", Key="sealed")["ServerSideEncryption"] == "AES256"
    assert not any(b"secret words" in path.read_bytes() for path in (keeper.data / "seaweedfs").glob("*.dat"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_where_namespaces_are_closed_root_runs_postgres_as_nobody(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = privileges._unprivileged_user()
    monkeypatch.setattr("infra.embedded.postgres.postgres_identity", lambda: f"user:{nobody.pw_uid}:{nobody.pw_gid}")
    data.mkdir(mode=0o711)
    stack = start(data)
    try:
        remember(stack.endpoints, "as nobody")
        pid = stack.supervisor.processes()["postgres"][0]
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        assert remembered(stack.endpoints, "as nobody") == ALL
    finally:
        stack.stop()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare to leave root")
def test_a_normal_user_needs_nothing_special(data: Path) -> None:
    # A user without capabilities who owns the same files, so that the interpreter may lie below a private folder.
    leave = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
    with kept(data, prefix=leave) as keeper:
        remember(keeper.endpoints, "as a normal user")
        assert remembered(keeper.endpoints, "as a normal user") == ALL
        users = {namespace(pid) for pid in keeper.pids()}
        assert users == {namespace(keeper.process.pid)}, "nobody became somebody else"
        assert users != {namespace(os.getpid())}


def namespace(pid: int) -> str:
    """Which users a process knows."""
    return str(Path(f"/proc/{pid}/ns/user").readlink())


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a small disk")
def test_a_full_disk_is_named_as_the_reason(data: Path) -> None:
    data.mkdir()
    if subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=24m", "tmpfs", data], check=False).returncode != 0:
        pytest.skip("this container may not mount")
    try:
        with pytest.raises(StackError, match=rf"The disk that holds {data} is full: free some space"):
            start(data)
    finally:
        subprocess.run([UMOUNT, "--lazy", data], check=True)


def test_it_stops_by_itself_when_the_process_that_it_follows_is_gone(data: Path) -> None:
    follower = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "infra.embedded", "--data", data, "--throw-away", "--until-exit-of", str(follower.pid)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
        text=True,
    )
    eventually((data / "stack.json").exists, within=30)
    pids = Keeper(launcher, data).pids()
    follower.communicate()
    assert launcher.wait(timeout=10) == 0
    assert gone(pids)
    assert not data.exists()
