"""Expand, backfill, contract while videos are made, claimed and finished: nobody waits long, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

import migrations
from domain.lifecycle import Stage
from storage import leases
from storage.tables import videos
from tests.fixtures.videos import AFTER, World

ROOT = Path(__file__).parents[2]
OLD_ROWS = 20_000

EXPAND = """
from alembic import op
from migrations import online

revision, down_revision = "t1", "{head}"


def upgrade():
    op.execute("ALTER TABLE videos ADD COLUMN IF NOT EXISTS shelf TEXT")
    online.create_index("videos_by_shelf", "ON videos (shelf) WHERE shelf IS NOT NULL")
    online.add_check("videos", "videos_shelf", "shelf <> ''")
"""
BACKFILL = """
from migrations import online

revision, down_revision = "t2", "t1"


def upgrade():
    online.backfill("videos", "shelf = 'old'", "shelf IS NULL AND created_at < clock_timestamp() - interval '1 day'")
"""
CONTRACT = """
from alembic import op
from migrations import online

revision, down_revision = "t3", "t2"


def upgrade():
    online.drop_index("videos_by_shelf")
    op.execute("ALTER TABLE videos DROP COLUMN IF EXISTS shelf")
"""


@dataclass
class Load:
    """What clients and workers do, all the time, and how long the slowest of it took."""

    world: World
    tenant: UUID
    created: list[UUID] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    slowest: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def create(self) -> None:
        self.created.append(self.world.create(self.tenant))
        time.sleep(0.02)

    def advance(self, stage: Stage) -> None:
        lease = self.world.claim(stage)
        if lease is None:
            time.sleep(0.02)
            return
        with self.world.database.transaction(self.tenant) as connection:
            assert leases.renew(connection, lease, 30.0, 10, None)
        assert self.world.move(lease, AFTER[stage])

    @contextmanager
    def running(self) -> Iterator[None]:
        does: list[Callable[[], None]] = [self.create, *(lambda stage=stage: self.advance(stage) for stage in Stage)]
        threads = [threading.Thread(target=self._repeat, args=(each,)) for each in does]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self.over.is_set():
            begun = time.monotonic()
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whatever a client would have seen
                self.errors.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - begun)


@pytest.fixture
def chain(tmp_path: Path, owner_url: str) -> Path:
    """Three more migrations after ours."""
    head = ScriptDirectory.from_config(migrations.config(owner_url)).get_current_head()
    for name, text in (("t1_expand", EXPAND), ("t2_backfill", BACKFILL), ("t3_contract", CONTRACT)):
        (tmp_path / f"{name}.py").write_text(text.replace("{head}", str(head)))
    return tmp_path


@contextmanager
def reading(owner: sa.Engine, seconds: float) -> Iterator[None]:
    """A report that reads the table in one long transaction: a change of the table cannot have its lock."""
    connection = owner.connect()
    connection.execute(sa.text("SELECT 1 FROM videos LIMIT 1"))
    timer = threading.Timer(seconds, connection.close)
    timer.start()
    yield
    timer.join()


@pytest.fixture
def owner(owner_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(owner_url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


def with_old_rows(world: World, owner: sa.Engine, tenant: UUID) -> None:
    """Many videos of long ago, in a queue that nobody serves."""
    world.create(tenant)
    given = {"id": "gen_random_uuid()", "queue": "'nowhere'", "created_at": "created_at - interval '2 days'"}
    given["source_id"] = "NULL"
    names = [column.name for column in videos.c]
    values = ", ".join(given.get(name, name) for name in names)
    copies = f"INSERT INTO videos ({', '.join(names)}) SELECT {values} FROM videos, generate_series(1, {OLD_ROWS})"  # noqa: S608 - our own names
    with owner.begin() as connection:
        connection.execute(sa.text(copies))


def columns(owner: sa.Engine) -> set[str]:
    return {column["name"] for column in sa.inspect(owner).get_columns("videos")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_change_of_the_busiest_table_loses_nothing_and_stops_nobody_for_long(
    world: World, owner: sa.Engine, owner_url: str, chain: Path
) -> None:
    tenant = world.tenant(render_cap=100)
    with_old_rows(world, owner, tenant)
    load = Load(world, tenant)
    took, tries = {}, {}
    with load.running():
        for revision in ("t1", "t2", "t3"):
            time.sleep(1.0)
            begun = time.monotonic()
            with reading(owner, 0.0 if revision == "t2" else 2.5):
                tries[revision] = migrations.upgrade(owner_url, revision, also=chain)
            took[revision] = round(time.monotonic() - begun, 1)
            if revision == "t2":
                with owner.connect() as connection:
                    filled = connection.scalar(sa.text("SELECT count(*) FROM videos WHERE shelf = 'old'"))
                    assert filled == OLD_ROWS
                assert sa.inspect(owner).get_indexes("videos")
        time.sleep(1.0)
    print(f"{len(load.created)} creates; seconds {took}, locks refused {tries}, longest stall {load.slowest:.2f} s")
    assert load.errors == []
    assert load.slowest <= 3.0
    assert tries["t1"] >= 1, "the lock was never contended"
    assert "shelf" not in columns(owner)
    for stage in Stage:
        while (lease := world.claim(stage)) is not None:
            assert world.move(lease, AFTER[stage])
    with world.database.transaction(tenant) as connection:
        finished = set(connection.scalars(sa.select(videos.c.id).where(videos.c.state == "completed")))
    assert set(load.created) <= finished, "a video was lost"


def test_a_half_built_index_is_built_anew(owner: sa.Engine, owner_url: str, chain: Path, world: World) -> None:
    tenant = world.tenant()
    world.create(tenant)
    world.create(tenant)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ALTER TABLE videos ADD COLUMN IF NOT EXISTS shelf TEXT DEFAULT 'same'"))
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.text("CREATE UNIQUE INDEX CONCURRENTLY videos_by_shelf ON videos (shelf)"))
        connection.execute(sa.text("ALTER TABLE videos RENAME COLUMN shelf TO shelf_before"))
    migrations.upgrade(owner_url, "t1", also=chain)
    with owner.connect() as connection:
        query = "SELECT indisvalid AND NOT indisunique FROM pg_index WHERE indexrelid = 'videos_by_shelf'::regclass"
        assert connection.scalar(sa.text(query))


def test_two_migrators_at_once_do_not_wait_for_each_other_for_ever(
    owner: sa.Engine, owner_url: str, chain: Path
) -> None:
    script = "import sys, pathlib, migrations; migrations.upgrade(sys.argv[1], also=pathlib.Path(sys.argv[2]))"
    with reading(owner, 2.0):
        both = [subprocess.Popen([sys.executable, "-c", script, owner_url, str(chain)], cwd=ROOT) for _ in range(2)]
        assert [each.wait(60) for each in both] == [0, 0]
    with owner.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "t3"


def test_a_lock_that_is_never_to_be_had_is_an_error(
    owner: sa.Engine, owner_url: str, chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TRIES", 2)
    monkeypatch.setattr(migrations, "LOCK_MILLISECONDS", 100)
    with reading(owner, 3.0), pytest.raises(sa.exc.OperationalError, match="lock timeout"):
        migrations.upgrade(owner_url, "t1", also=chain)
    assert "shelf" not in columns(owner)
