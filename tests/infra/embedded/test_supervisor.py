"""The supervisor with small programs of our own: order, restarts, back-off, bounds, what it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from infra.embedded import supervisor as subject
from infra.embedded.errors import StackError
from infra.embedded.private import read_json
from infra.embedded.process import Program, spawn
from infra.embedded.state_file import StateFile
from infra.embedded.supervisor import Stopped, Supervisor
from tests.infra.embedded.keeper import ROOT, eventually, gone

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """On an empty directory; stopped at the end."""
    one = Supervisor(tmp_path / "data")
    yield one
    one.stop()


def program(tmp_path: Path, name: str, code: str, **more: object) -> Program:
    argv = (sys.executable, "-c", code)
    log = tmp_path / f"{name}.log"
    return Program(name=name, argv=argv, env=dict(os.environ), log=log, cwd=tmp_path, **more)


def run_for(supervisor: Supervisor, seconds: float) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        supervisor.restart_dead()
        sleep(0.02)


def test_a_stage_is_up_only_when_every_program_in_it_answers(tmp_path: Path, supervisor: Supervisor) -> None:
    def answers() -> None:
        assert (tmp_path / "answer").exists()

    slow = "import pathlib, time; time.sleep(0.4); pathlib.Path('answer').touch(); time.sleep(60)"
    supervisor.start([program(tmp_path, "slow", slow, ready=answers)])
    assert (tmp_path / "answer").exists()
    assert len(supervisor.processes()["slow"]) == 1


def test_a_program_that_ends_while_it_starts_is_an_error_with_its_last_words(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    broken = program(tmp_path, "broken", "raise SystemExit('the moon is wrong')", ready=lambda: 1 / 0)
    with pytest.raises(
        StackError, match=r"broken does not start; the last lines of .*broken\.log:\n  the moon is wrong"
    ):
        supervisor.start([broken])


def test_a_program_that_never_answers_is_an_error_with_the_last_complaint(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    mute = program(tmp_path, "mute", "import time; time.sleep(60)", ready=lambda: 1 / 0, ready_within=0.3)
    with pytest.raises(StackError, match="division by zero"):
        supervisor.start([mute])


def test_what_dies_is_started_again_and_its_children_are_not_left_behind(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    child = "import os, pathlib, time; pathlib.Path('child').write_text(str(os.getpid())); time.sleep(60)"
    supervisor.start([program(tmp_path, "parent", PARENT.format(child=child))])
    eventually((tmp_path / "child").read_text)
    (first,), orphan = supervisor.processes()["parent"], int((tmp_path / "child").read_text())
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.processes()["parent"] == [])
    run_for(supervisor, 0.5)
    assert supervisor.processes()["parent"] not in ([], [first])
    eventually(lambda: gone([orphan]))


def test_what_keeps_dying_is_started_ever_more_rarely(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start([program(tmp_path, "hopeless", "print('again', flush=True)")])
    run_for(supervisor, 2.5)
    starts = (tmp_path / "hopeless.log").read_text().count("again")
    assert 3 <= starts <= 5  # at 0, 0, 0.25, 0.75 and 1.75 s, and a little later each


def test_a_long_life_is_forgiven_an_earlier_death(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "STEADY_SECONDS", 0.0)
    supervisor.start([program(tmp_path, "steady", "import time; print('again', flush=True); time.sleep(0.2)")])
    run_for(supervisor, 3.0)
    assert (tmp_path / "steady.log").read_text().count("again") > 5


def test_stages_stop_in_reverse_order_and_each_is_asked_first(tmp_path: Path, supervisor: Supervisor) -> None:
    polite = (
        "import signal, sys, time\n"
        "def end(*_):\n open('order', 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    for name in ("first", "second"):
        one = program(tmp_path, name, polite)
        supervisor.start([Program(name=name, argv=(*one.argv, f"{name} "), env=one.env, log=one.log, cwd=one.cwd)])
        eventually((tmp_path / f"{name}.log").read_text)
    supervisor.stop()
    assert (tmp_path / "order").read_text() == "second first "


def test_what_others_ask_stops_after_them(tmp_path: Path, supervisor: Supervisor) -> None:
    slow = (
        "import signal, sys, time\n"
        "def end(*_):\n time.sleep(float(sys.argv[2])); open('order', 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    asked = replace(program(tmp_path, "asked", slow), last_to_stop=True)
    asking = program(tmp_path, "asking", slow)
    asked = replace(asked, argv=(*asked.argv, "asked ", "0"))
    asking = replace(asking, argv=(*asking.argv, "asking ", "0.5"))
    supervisor.start([asked, asking])
    eventually(lambda: all((tmp_path / f"{name}.log").read_text() for name in ("asked", "asking")))
    supervisor.stop()
    assert (tmp_path / "order").read_text() == "asking asked "


def test_a_program_that_ignores_the_request_is_killed_after_its_grace(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start([program(tmp_path, f"stubborn-{n}", STUBBORN, grace=0.5) for n in range(3)])
    eventually(lambda: all((tmp_path / f"stubborn-{n}.log").read_text() for n in range(3)))
    pids = [pid for group in supervisor.processes().values() for pid in group]
    begun = monotonic()
    supervisor.stop()
    assert 0.5 <= monotonic() - begun < 1.5
    assert gone(pids)


def test_all_stages_together_are_bounded(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "STOP_SECONDS", 0.6)
    for n in range(3):
        supervisor.start([program(tmp_path, f"stubborn-{n}", STUBBORN, grace=10)])
    eventually(lambda: all((tmp_path / f"stubborn-{n}.log").read_text() for n in range(3)))
    begun = monotonic()
    supervisor.stop()
    assert monotonic() - begun < 2


def test_a_signal_during_the_start_ends_it(tmp_path: Path, supervisor: Supervisor) -> None:
    with supervisor.handling_signals():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Stopped):
            supervisor.start([program(tmp_path, "mute", "import time; time.sleep(60)", ready=lambda: 1 / 0)])


def test_programs_may_share_a_name_in_the_state_file_which_follows_every_change(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "up.json")
    one = Supervisor(tmp_path / "data", on_change=state.on_change)
    try:
        sleeper = "import time; time.sleep(60)"
        one.start([program(tmp_path, f"twin-{n}", sleeper, group="twin") for n in (1, 2)])
        assert not state.path.exists()  # nobody may find a system that is not ready
        state.publish({"base_url": "here"})
        before = read_json(state.path)
        assert before["base_url"] == "here"
        os.kill(before["processes"]["twin"][0], signal.SIGKILL)
        run_for(one, 0.5)
        after = read_json(state.path)["processes"]["twin"]
        assert len(after) == 2
        assert after[1] == before["processes"]["twin"][1]
        assert after[0] != before["processes"]["twin"][0]
    finally:
        state.remove()
        one.stop()
    assert not state.path.exists()


def test_not_even_the_children_of_a_process_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    child = "import os, pathlib, time; pathlib.Path('child').write_text(str(os.getpid())); time.sleep(60)"
    code = (
        "import os, pathlib, sys\n"
        "from infra.embedded.process import Program\n"
        "from infra.embedded.supervisor import Supervisor\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"argv = (sys.executable, '-c', {PARENT.format(child=child)!r})\n"
        "supervisor = Supervisor(folder / 'data')\n"
        "supervisor.start([Program('parent', argv, dict(os.environ), folder / 'log', folder)])\n"
        "supervisor.run()\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    eventually((tmp_path / "child").read_text)
    orphan = int((tmp_path / "child").read_text())
    parents = [int(pid) for pid in read_json(tmp_path / "data" / "pids.json")]
    launcher.kill()
    launcher.wait()
    eventually(lambda: gone([orphan, *parents]), within=5)


def test_the_guard_is_replaced_when_somebody_kills_it(tmp_path: Path, supervisor: Supervisor) -> None:
    sleeper = "import time; time.sleep(60)"
    supervisor.start([program(tmp_path, "one", sleeper)])
    first = supervisor._guard._process
    assert first is not None
    first.kill()
    first.wait()
    supervisor.start([program(tmp_path, "two", sleeper)])
    second = supervisor._guard._process
    assert second is not None
    assert second.poll() is None
    supervisor.stop()
    assert gone([second.pid])


def test_a_predecessor_that_left_processes_behind_is_cleaned_up(tmp_path: Path) -> None:
    """As on systems where the kernel does not end a dead launcher's children."""
    stray = spawn(program(tmp_path, "stray", STUBBORN))
    eventually((tmp_path / "stray.log").read_text)
    (tmp_path / "data").mkdir()
    subject.leftovers.remember(tmp_path / "data" / "pids.json", [stray.pid])
    subject.leftovers.end(tmp_path / "data" / "pids.json", patience=0.2)
    stray.wait(timeout=1)
    assert gone([stray.pid])


def test_a_number_that_another_process_has_since_been_given_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pids.json").write_text(f'{{"{os.getpid()}": 12345.0}}')
    subject.leftovers.end(tmp_path / "pids.json", patience=0.1)


def test_programs_are_spawned_by_the_main_thread_only(tmp_path: Path) -> None:
    refusals: list[Exception] = []

    def try_it() -> None:
        try:
            spawn(program(tmp_path, "never", "pass"))
        except RuntimeError as error:
            refusals.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert len(refusals) == 1
