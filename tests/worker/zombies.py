"""A worker that stops with several videos at once, each after its last step and before its finish.

Tests run it as a program and freeze it there. A line on stdin names a stage: it claims and works, and says `stopped`.
The next line lets it finish, and it says what became of that: the state of each video, null where it was refused.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from domain.lifecycle import Stage
from runtime.settings import load
from tests.fixtures.videos import QUEUES
from worker.pipeline import work
from worker.process import Process

AT_ONCE = 10


def main() -> None:
    process = Process(load(needs=()), tuple(QUEUES.values()))
    for line in sys.stdin:
        stopped, go_on = threading.Barrier(AT_ONCE + 1), threading.Event()
        settle = work._settle

        def late(*arguments: Any, stopped: Any = stopped, go_on: Any = go_on, settle: Any = settle) -> Any:
            stopped.wait()
            go_on.wait()
            return settle(*arguments)

        work._settle = late
        stage = Stage(line.strip())
        leases = [work._claim(process, stage, QUEUES[stage]) for _ in range(AT_ONCE)]
        assert all(leases)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ends = [pool.submit(work.run, process, lease) for lease in leases if lease is not None]
            stopped.wait()
            print("stopped", flush=True)
            sys.stdin.readline()
            go_on.set()
            print(json.dumps([end.result() for end in ends]), flush=True)
        work._settle = settle
    process.ringer.stop()


if __name__ == "__main__":
    main()
