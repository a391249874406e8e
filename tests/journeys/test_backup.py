"""A backup of a running system, and what becomes of everything when it is restored to that older point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI

from tests.journeys.conftest import FAST_LEASES
from tests.journeys.system import ROOT, eventually, running

SHORT = {"prompt": "bars", "model": "testcard", "size": "256x144", "seconds": "4"}
LONG = {**SHORT, "extra_body": {"steps": 100}}
QUICK = {**FAST_LEASES, "KINEMA_TESTCARD_STEP_SECONDS": "0.05", "KINEMA_SWEEP_GRACE_SECONDS": "0"}


def kinema(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def all_completed(client: OpenAI, *videos: str) -> None:
    eventually(lambda: all(client.videos.retrieve(each).status == "completed" for each in videos), within=90)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_restore_to_an_older_point_everything_completes_or_says_what_is_lost(tmp_path: Path) -> None:
    data, whole, rows_only = tmp_path / "data", tmp_path / "whole", tmp_path / "rows"
    with running(data, "--model", "testcard", environment=QUICK) as system:
        client = system.client(max_retries=5)
        kept, deleted = (client.videos.create(**SHORT).id for _ in range(2))
        all_completed(client, kept, deleted)
        bytes_of = client.videos.download_content(kept).read()
        under_way, waits = client.videos.create(**LONG).id, client.videos.create(**SHORT).id
        eventually(lambda: client.videos.retrieve(under_way).progress > 1, within=30)
        assert kinema("backup", str(rows_only), "--data", str(data), "--no-objects").returncode == 0
        assert kinema("backup", str(whole), "--data", str(data)).returncode == 0
        assert kinema("backup", str(whole), "--data", str(data)).returncode == 1, "one backup never replaces another"
        all_completed(client, under_way, waits)
        later = client.videos.create(**SHORT).id
        all_completed(client, later)
        client.videos.delete(deleted)
        gone = "SELECT count(*) FROM objects WHERE swept_at IS NULL AND doomed_at IS NOT NULL"
        eventually(lambda: system.rows(gone) == [(0,)], within=30)
        assert kinema("restore", str(whole), "--data", str(data)).returncode == 1, "it runs"

    restored = kinema("restore", str(rows_only), "--data", str(data))
    assert restored.returncode == 0, restored.stderr
    with running(data, "--model", "testcard", environment=QUICK) as system:
        client = system.client(max_retries=5)
        all_completed(client, under_way, waits)
        with pytest.raises(NotFoundError):
            client.videos.retrieve(later)
        assert client.videos.download_content(kept).read() == bytes_of
        checked = kinema("objects", "check", "--data", str(data))
        assert checked.returncode == 1
        assert deleted in checked.stdout
        assert later.removeprefix("video_") in checked.stdout
        assert kinema("objects", "reconcile", "--data", str(data)).returncode == 0
        assert kinema("objects", "check", "--data", str(data)).returncode == 0
        lost = client.videos.retrieve(deleted)
        assert lost.error is not None
        assert (lost.status, lost.error.code) == ("completed", "content_lost")
        with pytest.raises(NotFoundError, match="lost"):
            client.videos.download_content(deleted)
        balance = "SELECT count(*) FROM (SELECT video_id FROM outputs GROUP BY video_id HAVING count(*) <> 3) AS odd"
        assert system.rows(balance) == [(0,)]

    empty = tmp_path / "elsewhere"  # a new machine, with objects
    restored = kinema("restore", str(whole), "--data", str(empty))
    assert restored.returncode == 0, restored.stderr
    with running(empty, "--model", "testcard", environment=QUICK) as system:
        client = system.client(max_retries=5)
        assert client.videos.download_content(kept).read() == bytes_of
        assert client.videos.download_content(deleted).read()
        all_completed(client, under_way, waits)
        assert kinema("objects", "check", "--data", str(empty)).returncode == 0


def test_half_a_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "database.dump").write_bytes(b"PGDMP")
    refused = kinema("restore", str(tmp_path / "half"), "--data", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert "no complete backup" in refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_folder_on_which_nothing_ran_cannot_be_backed_up(tmp_path: Path) -> None:
    refused = kinema("backup", str(tmp_path / "copy"), "--data", str(tmp_path))
    assert refused.returncode == 1
    assert "no data directory" in refused.stderr
    assert not (tmp_path / "copy").exists()
