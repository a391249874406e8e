from __future__ import annotations

import time

import psutil

from tests.journeys.system import System, eventually

LONG = {"prompt": "bars", "model": "testcard", "size": "256x144", "seconds": "4", "extra_body": {"steps": 100}}
SHORT = {"prompt": "bars", "model": "testcard", "size": "256x144", "seconds": "4"}


def test_a_killed_renderers_video_completes_once(system: System) -> None:
    client = system.client()
    video = client.videos.create(**LONG)
    eventually(lambda: client.videos.retrieve(video.id).progress > 10, within=30)
    for process in renderer_children(system):
        process.kill()
    took = eventually(lambda: client.videos.retrieve(video.id).status == "completed", within=60)
    hex_id = video.id.removeprefix("video_")
    outputs = system.rows("SELECT kind, count(*) FROM outputs WHERE video_id = %s GROUP BY kind", hex_id)
    renders = "SELECT outcome FROM attempts WHERE video_id = %s AND stage = 'render' ORDER BY fence"
    attempts = system.rows(renders, hex_id)
    assert sorted(outputs) == [("spritesheet", 1), ("thumbnail", 1), ("video", 1)]
    assert attempts == [("crashed",), ("done",)]
    print(f"completed {took:.1f} s after kill -9")


def test_creates_are_accepted_while_valkey_is_away(system: System) -> None:
    client = system.client(max_retries=0)
    client.videos.create(**SHORT)
    slowest, made = 0.0, []
    for _ in range(5):
        system.kill("valkey")
        begun = time.monotonic()
        made.append(client.videos.create(**SHORT).id)
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 1.5
    eventually(lambda: system.pids("valkey"), within=10)
    eventually(lambda: all(client.videos.retrieve(each).status == "completed" for each in made), within=90)
    print(f"slowest create {slowest:.2f} s")


def test_a_cancelled_render_frees_the_renderer_at_once(system: System) -> None:
    client = system.client()
    long, short = client.videos.create(**{**LONG, "extra_body": {"steps": 2_000}}), client.videos.create(**SHORT)
    eventually(lambda: client.videos.retrieve(long.id).status == "in_progress", within=30)
    cancelled = client.post(f"/videos/{long.id}/cancel", cast_to=object)
    assert cancelled["status"] == "failed"
    assert cancelled["error"]["code"] == "cancelled"
    took = eventually(lambda: client.videos.retrieve(short.id).status != "queued", within=10)
    assert took < 3
    eventually(lambda: client.videos.retrieve(short.id).status == "completed", within=30)


def test_a_deleted_render_frees_the_renderer_and_is_gone(system: System) -> None:
    client = system.client()
    long, short = client.videos.create(**{**LONG, "extra_body": {"steps": 2_000}}), client.videos.create(**SHORT)
    eventually(lambda: client.videos.retrieve(long.id).status == "in_progress", within=30)
    assert client.videos.delete(long.id).deleted
    eventually(lambda: client.videos.retrieve(short.id).status == "completed", within=30)
    messages = system.rows("SELECT 1 FROM webhook_messages WHERE video_id = %s", long.id.removeprefix("video_"))
    assert messages == []


def test_whatever_dies_is_started_again(system: System) -> None:
    for name in ("api", "moderator", "dispatcher"):
        before = system.kill(name)
        eventually(lambda name=name, before=before: system.pids(name) not in ([], before), within=10)
    client = system.client(max_retries=5)
    video = client.videos.create(**SHORT)
    eventually(lambda: client.videos.retrieve(video.id).status == "completed", within=60)


def renderer_children(system: System) -> list[psutil.Process]:
    """The workers and the children in which they render."""
    parents = [psutil.Process(pid) for pid in system.pids("render_worker")]
    return [process for parent in parents for process in (*parent.children(), parent)]
