"""Postgres on a disk that is full, down to its log: refusals, one crash after the other, and then it goes on."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

import migrations
from api.app import create_app
from domain import ids
from domain.lifecycle import Stage, State
from infra.embedded.postgres import LOGIN
from infra.embedded.private import read_json
from runtime.settings import Secret, Settings
from storage import keys
from storage.bootstrap import bootstrap
from storage.database import Database
from storage.objects import ObjectStore
from tests.fixtures.run import ROOT, RunningStack
from tests.fixtures.videos import World
from tests.infra.embedded.keeper import Keeper, kept
from tests.journeys.system import eventually
from worker.pipeline.work import run
from worker.process import Process

SIZE = "224m"  # a cluster has 40 MB, its log up to 80
HALVES = """
SELECT count(*) FROM videos v
WHERE (SELECT count(*) FROM ledger l WHERE l.video_id = v.id AND l.kind = 'hold' AND l.micros = v.price_micros) <> 1
   OR (SELECT count(*) FROM events e WHERE e.video_id = v.id AND e.seq = 1) <> 1
"""
PEPPER = "pepper of the tests"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A data directory whose Postgres has a small file system of its own."""
    above = Path(tempfile.mkdtemp(prefix="kinema-full-"))
    above.chmod(0o711)
    place = above / "data" / "postgres"
    place.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)], check=False)  # noqa: S607 - the system's own
    if made.returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield above / "data"
    subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607 - the system's own
    shutil.rmtree(above, ignore_errors=True)


@dataclass(frozen=True)
class Site:
    """A Postgres of its own, the run's other servers, and one tenant."""

    keeper: Keeper
    settings: Settings
    owner_url: str

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left inside the block."""
        filler = self.keeper.data / "postgres" / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    def switch_log(self) -> None:
        """The server goes on in its next log file, which must be there or be made."""
        with psycopg.connect(self.owner_url.replace("+psycopg", ""), autocommit=True, connect_timeout=2) as connection:
            connection.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
            connection.execute("SELECT pg_switch_wal()")


@pytest.fixture
def site(
    disk: Path, stack: RunningStack, redis_url: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    at = stack.endpoints
    for name, value in at.environment().items():
        if "DATABASE" not in name:
            monkeypatch.setenv(name, value)
    with kept(disk) as keeper:
        owner_url, password = keeper.endpoints.owner_database_url, read_json(disk / "stack.json")["app_password"]
        bootstrap(owner_url, password)
        migrations.upgrade(owner_url)
        settings = Settings(
            database_url=Secret(f"postgresql+psycopg://{LOGIN}:{password}@{owner_url.rsplit('@', 1)[1]}"),
            redis_url=Secret(redis_url),
            s3_endpoint_url=at.s3_endpoint_url,
            s3_access_key=Secret(at.s3_access_key),
            s3_secret_key=Secret(at.s3_secret_key),
            s3_bucket=object_store.bucket,
            key_pepper=Secret(PEPPER),
            webhook_key=Secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            models_file=str(ROOT / "models.toml"),
            testcard=True,
            testcard_step_seconds=0.05,
            lease_seconds=120.0,
            beat_seconds=0.5,
            work_dir=str(disk.parent),
        )
        yield Site(keeper, settings, owner_url)


@contextmanager
def rendering(site: Site, world: World) -> Iterator[list[State | None]]:
    """A worker that is at a video inside the block, and where that went."""
    process = Process(site.settings, ("render.small",))
    after: list[State | None] = []
    lease = world.must_claim(Stage.RENDER, lease_seconds=site.settings.lease_seconds)
    thread = threading.Thread(target=lambda: after.append(run(process, lease)))
    begun = time.monotonic()
    thread.start()
    yield after
    thread.join(60)
    print(f"the worker held out for {time.monotonic() - begun:.1f} s")
    process.ringer.stop()
    process.database.close()


def create(http: TestClient) -> Any:
    return http.post("/v1/videos", json={"model": "testcard", "prompt": "bars", "size": "256x144", "seconds": "4"})


def refused(answer: Any) -> bool:
    """Whether it is the one refusal that clients know."""
    if answer.status_code == 200:
        return False
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "2"
    assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == ("server_error", "unavailable")
    return True


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_postgres_refuses_clearly_loses_nothing_and_goes_on_with_room(site: Site) -> None:
    database = Database(site.settings.database_url)
    world = World(database)
    tenant = world.tenant("crowd", render_cap=10)
    with database.transaction_for_any_tenant() as connection:
        key = keys.issue_for_any_tenant(connection, tenant, "test", PEPPER.encode(), "1")
    accepted: list[str] = []
    refusals = 0

    def ask(http: TestClient) -> bool:
        nonlocal refusals
        answer = create(http)
        if refused(answer):
            refusals += 1
            return False
        accepted.append(answer.json()["id"])
        return True

    with TestClient(create_app(site.settings), headers={"authorization": f"Bearer {key}"}) as http:
        assert ask(http)
        world.advance(Stage.SCREEN)
        with rendering(site, world) as after:
            with site.full():
                begun = time.monotonic()
                eventually(lambda: not ask(http), within=60, every=0)
                assert http.get("/v1/videos").status_code == 200, "who only reads is served"
                by_data, first = len(accepted), time.monotonic() - begun
                with suppress(psycopg.Error):
                    for _ in range(10):  # until no file of the log is left to be used again
                        site.switch_log()
                for _ in range(10):
                    assert not ask(http)
                    time.sleep(0.1)
                assert after == [], "the worker waits"
            begun = time.monotonic()
            eventually(lambda: ask(http), within=60)
            back = time.monotonic() - begun
        assert after == [State.RENDERED]
        assert http.get("/v1/videos").status_code == 200
    with database.transaction_for_any_tenant() as connection:
        stored = {ids.public(ids.Kind.VIDEO, each) for each in connection.scalars(sa.text("SELECT id FROM videos"))}
        halves = connection.scalar(sa.text(HALVES))
    database.close()
    assert stored == set(accepted), "what was refused left nothing"
    assert halves == 0
    log = (site.keeper.data / "logs" / "postgres.log").read_text()
    assert "could not extend file" in log, "tables were full"
    assert "PANIC:  could not write to file" in log, "and the log, which ends the server"
    print(
        f"{by_data} creates fitted, refused after {first:.1f} s, {refusals} refusals, back {back:.1f} s after the room"
    )
