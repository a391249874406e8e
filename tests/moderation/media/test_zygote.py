from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from domain.errors import Unavailable
from moderation.media import decoder as decoding
from moderation.media.decoder import Clip, Decoder, Picture, Unreadable, clip_limits
from moderation.media.limits import Reason
from tests.fixtures import media

ROOT = Path(__file__).parents[3]
CLIPS = clip_limits(120)


def zygote_of(decoder: Decoder) -> psutil.Process:
    assert decoder._zygote is not None
    return psutil.Process(decoder._zygote._process.pid)


def test_a_zygote_that_was_killed_is_replaced(decoder: Decoder) -> None:
    assert isinstance(decoder.picture(media.picture()), Picture)
    before = zygote_of(decoder)
    before.kill()
    before.wait(5) if before.is_running() else None
    made = None
    for _ in range(2):
        try:
            made = decoder.picture(media.picture())
        except Unavailable:
            continue
    assert isinstance(made, Picture)
    assert zygote_of(decoder).pid != before.pid


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_child_that_crashes_is_a_file_that_cannot_be_read(
    decoder: Decoder, hog: bytes, number: signal.Signals
) -> None:
    decoder.picture(media.picture())
    zygote = zygote_of(decoder)
    outcomes: list[object] = []
    asking = threading.Thread(target=lambda: outcomes.append(decoder.picture(hog)))
    asking.start()
    while not zygote.children():
        time.sleep(0.001)
    time.sleep(0.05)
    zygote.children()[0].send_signal(number)
    asking.join()
    assert outcomes == [Unreadable(Reason.UNREADABLE)]
    assert isinstance(decoder.picture(media.picture()), Picture)


def test_a_child_that_talks_nonsense_is_not_believed() -> None:
    for told in (b"", b"[]", b"\xff", b'{"reason": "fun"}', b'{"status": 0}', b'{"status": "x"}', b'{"status": [1]}'):
        assert decoding._failure(decoding._read(told)) == Unreadable(Reason.UNREADABLE)
    png, mp4 = media.picture(), media.clip(seconds=0.2)
    for size in ({}, {"width": 1, "height": 1}, {"width": -1, "height": 144}, {"width": [], "height": 1}):
        assert decoding._picture(size, png) == Unreadable(Reason.UNREADABLE)
    facts = {"width": 256, "height": 144, "frames": 5, "fps": 24.0, "seconds": 0.2}
    assert isinstance(decoding._clip(facts, mp4), Clip)
    assert decoding._clip({**facts, "fps": float("nan")}, mp4) == Unreadable(Reason.UNREADABLE)
    assert decoding._clip(facts, mp4 + b"x") == Unreadable(Reason.UNREADABLE)


def test_a_daemon_may_decode_as_celery_s_children_are(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=decode_in, args=(tmp_path,), daemon=True)
    worker.start()
    worker.join(60)
    assert (worker.exitcode, (tmp_path / "made.png").read_bytes()[:4]) == (0, b"\x89PNG")


def decode_in(folder: Path) -> None:
    opened = Decoder()
    made = opened.picture(media.picture())
    opened.close()
    assert isinstance(made, Picture)
    (folder / "made.png").write_bytes(made.png)


def test_the_zygote_knows_no_secret(decoder: Decoder) -> None:
    decoder.picture(media.picture())
    assert set(zygote_of(decoder).environ()) <= {"PYTHONPATH", "PATH", "LC_ALL"}


def test_the_zygote_ends_with_its_owner() -> None:
    code = (
        "import sys, time; from moderation.media.decoder import Decoder; from tests.fixtures import media\n"
        "d = Decoder(); d.picture(media.picture()); print(d._zygote._process.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    zygote = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert zygote.wait(5) in {0, None}


CONFINED = """
import os, signal, socket, sys
from moderation.media.confinement import confine
from moderation.media.limits import Limits
confine(Limits())
tries = {
    "open": lambda: open("/etc/passwd"),
    "create": lambda: os.open("/tmp/made", os.O_CREAT | os.O_WRONLY),
    "list": lambda: os.listdir("/"),
    "socket": socket.socket,
    "pair": socket.socketpair,
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "pidfd": lambda: os.pidfd_open(os.getppid()),
    "chdir": lambda: os.chdir("/tmp"),
    "unlink": lambda: os.unlink("/tmp/none"),
    "pipe": os.pipe,
}
for name, attempt in tries.items():
    try:
        attempt()
    except PermissionError:
        continue
    os.write(1, name.encode() + b" was allowed\\n")
os.write(1, b"end\\n")
os._exit(0)
"""


def test_a_confined_process_opens_nothing_starts_nothing_and_reaches_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", CONFINED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "end\n"
