"""Logs while their writers write: bounded, whole lines, nothing missing but what fell into the cut."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from infra.embedded import rotation
from infra.embedded.process import Program
from infra.embedded.supervisor import Supervisor
from tests.infra.embedded.keeper import eventually

LIMIT = 20_000
LINES = 20_000
# One call per line, as loggers write.
WRITER = """
import os, sys, time
for number in range({lines}):
    os.write(1, b"%06d %s\\n" % (number, b"x" * 60))
    if number % 20 == 0:
        time.sleep(0.001)
"""


@contextmanager
def writing(log: Path, lines: int) -> Iterator[subprocess.Popen[bytes]]:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    process = subprocess.Popen([sys.executable, "-c", WRITER.format(lines=lines)], stdout=output)
    os.close(output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def parts(log: Path) -> list[Path]:
    """The oldest first."""
    return [path for path in (log.with_name("log.2"), log.with_name("log.1"), log) if path.exists()]


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert not rotation.bound(log, LIMIT), "there is none"
    log.write_text("short\n")
    assert not rotation.bound(log, LIMIT)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_three_parts_are_kept_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for number in range(5):
        log.write_text(f"{number}" * LIMIT + "\n")
        log.chmod(0o600)
        assert rotation.bound(log, LIMIT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert [path.read_text()[:1] for path in parts(log)] == ["3", "4", ""]
    assert {stat.S_IMODE(path.stat().st_mode) for path in parts(log)} == {0o600}


def test_a_writer_goes_on_and_next_to_no_line_is_missing(tmp_path: Path) -> None:
    log, seen, cuts = tmp_path / "log", bytearray(), 0
    with writing(log, LINES) as process:
        while process.poll() is None:
            if rotation.bound(log, LIMIT):
                cuts += 1
                seen += log.with_name("log.1").read_bytes()
            sleep(0.001)
        assert process.returncode == 0
    seen += log.read_bytes()
    lines = bytes(seen).splitlines()
    numbers = [int(line[:6]) for line in lines]
    print(f"{LINES} lines, {cuts} cuts, {LINES - len(lines)} lines lost")
    assert cuts >= 10
    assert all(len(line) == 67 for line in lines), "a line was torn"
    assert numbers == sorted(set(numbers)), "a line came twice, or out of order"
    assert LINES - len(lines) <= LINES // 100, "more was lost than what fell into the cuts"
    assert numbers[-1] == LINES - 1


def test_what_cannot_be_set_aside_stays(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a" * (LIMIT + 1))
    log.with_name("log.1").write_text("before")
    log.with_name("log.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        rotation.bound(log, LIMIT)
    assert log.stat().st_size == LIMIT + 1
    assert log.with_name("log.1").read_text() == "before"
    assert not log.with_name("log.new").is_symlink()


def test_who_writes_without_end_does_not_hold_the_supervisor(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "import os\nwhile True: os.write(1, b'x' * 65_536)"
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with subprocess.Popen([sys.executable, "-c", script], stdout=output) as process:
        os.close(output)
        try:
            eventually(lambda: log.stat().st_size > LIMIT)
            begun = threading.Event()
            thread = threading.Thread(target=lambda: (rotation.bound(log, LIMIT), begun.set()))
            thread.start()
            assert begun.wait(10)
            thread.join()
        finally:
            process.kill()
    assert log.with_name("log.1").stat().st_size <= 2 * LIMIT + rotation.CHUNK_BYTES


def test_the_supervisor_bounds_the_logs_of_what_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation.bound, "__defaults__", (LIMIT,))
    supervisor = Supervisor(tmp_path / "data")
    argv = (sys.executable, "-c", WRITER.format(lines=10**9))
    log = tmp_path / "log"
    ending = threading.Timer(30, supervisor.ask_to_stop)

    def look() -> None:
        eventually(log.with_name("log.2").exists, within=30)
        supervisor.ask_to_stop()

    watching = threading.Thread(target=look)
    try:
        supervisor.start([Program(name="log", argv=argv, env=dict(os.environ), log=log, cwd=tmp_path)])
        ending.start()
        watching.start()
        supervisor.run()
        watching.join()
    finally:
        ending.cancel()
        supervisor.stop()
    assert log.with_name("log.2").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "log", "log.1", "log.2"]
