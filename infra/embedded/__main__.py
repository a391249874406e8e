"""`python -m infra.embedded --data DIR`: the three servers alone, until a signal or the end of another process.

Writes DIR/stack.json (mode 0600): `endpoints`, the application's database password, and the living `processes`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from pathlib import Path
from time import sleep

import psutil

from infra.embedded.errors import StackError
from infra.embedded.stack import start
from infra.embedded.state_file import StateFile
from infra.embedded.supervisor import Stopped, Supervisor

STATE = "stack.json"


def main() -> int:
    """Runs the servers in the foreground; 1 with one sentence on stderr when they cannot run."""
    options = _parser().parse_args()
    state = StateFile(options.data / STATE)
    supervisor = Supervisor(options.data, on_change=state.on_change)
    if options.until_exit_of:
        threading.Thread(target=_follow, args=(options.until_exit_of, supervisor), daemon=True).start()
    try:
        with supervisor.handling_signals():
            _serve(supervisor, state)
    except Stopped:
        return 0
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        state.remove()
        if options.throw_away:
            supervisor.kill()
            shutil.rmtree(supervisor.data, ignore_errors=True)
        supervisor.stop()
    return 0


def _serve(supervisor: Supervisor, state: StateFile) -> None:
    supervisor.own_data()
    state.begin()
    stack = start(supervisor.data, supervisor)
    state.publish({"endpoints": stack.endpoints.as_json(), "app_password": stack.credentials.postgres_app})
    print(f"ready: {state.path}", flush=True)
    supervisor.run()


def _follow(pid: int, supervisor: Supervisor) -> None:
    """Asks to stop once the process is gone: a test run that started us may be killed without a word."""
    while psutil.pid_exists(pid):
        sleep(0.2)
    supervisor.ask_to_stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".kinema"), metavar="DIR")
    parser.add_argument("--until-exit-of", type=int, metavar="PID", help="stop when this process is gone")
    parser.add_argument("--throw-away", action="store_true", help="delete DIR at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
