"""Kinema whose processes kill themselves at chosen points, and which may be asked for videos that do harm.

Only tests run this, as `python -m tests.journeys.crashing up …`; the product has no such switch. Every process that
`up` starts is this module again, and so are the spawned children of workers. `CRASH_PLAN` is a folder: `plan.json`
says how many processes of each kind may die; `*.turns` count them, `deaths` tells where each died.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any

PLAN = "CRASH_PLAN"
KILLS, HANGS = 666, 667  # seeds of videos that kill whoever renders them, and that hang their first renderer
OF_API = (
    "before the transaction",
    "before COMMIT of create",
    "after COMMIT of create",
    "after the answer",
    "after the inputs were put",
)
OF_WORKER = (
    "before COMMIT of claim",
    "after COMMIT of claim",
    "before COMMIT of beat",
    "after COMMIT of beat",
    "before COMMIT of keys",
    "after COMMIT of keys",
    "after a put",
    "before the finish",
    "before COMMIT of finish",
    "after COMMIT of finish",
)
_doing = threading.local()
_lock = threading.Lock()


class Fate:
    """Where this process dies, after how many passings of that point; nowhere once enough have died."""

    def __init__(self, points: tuple[str, ...]) -> None:
        folder = Path(os.environ[PLAN])
        kind = "api" if points is OF_API else "render" if "render." in sys.argv[-1] else "io"
        turn = _next(folder / f"{kind}.turns")
        self._deaths = folder / "deaths"
        self._left = random.Random(f"{kind} {turn}").randint(2, 6)
        most = json.loads((folder / "plan.json").read_text())[kind]
        self._point = points[turn % len(points)] if turn < most else None

    def passes(self, point: str) -> None:
        """Be here; it may be the end."""
        if point != self._point:
            return
        with _lock:
            self._left -= 1
            if self._left == 0:
                with self._deaths.open("a") as file:
                    file.write(f"{point}\n")
                os.kill(os.getpid(), signal.SIGKILL)


def _next(path: Path) -> int:
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        turn = len(file.read())
        file.write(".")
    return turn


@cache
def _fate(points: tuple[str, ...]) -> Fate:
    return Fate(points)


def fate(points: tuple[str, ...]) -> Fate:
    """The one fate of this process: two threads that ask for it first must not use up two turns."""
    with _lock:
        return _fate(points)


def label(module: Any, name: str, what: str) -> None:
    """From now on the function of that name says what its transaction is for, if it did it."""
    function = getattr(module, name)

    @wraps(function)
    def labelled(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if result:
            _doing.what = what
        return result

    setattr(module, name, labelled)


def watch_commits(points: tuple[str, ...]) -> None:
    """Every transaction that did something of a name passes a point on either side of its COMMIT."""
    from storage.database import Database  # noqa: PLC0415 - as every import below: only what the process needs

    begun = Database._begun

    @contextmanager
    def watched(self: Database, role: str, tenant: str) -> Generator[Any]:
        _doing.what = None
        with begun(self, role, tenant) as connection:
            yield connection
            if what := _doing.what:
                fate(points).passes(f"before COMMIT of {what}")
        if what:
            fate(points).passes(f"after COMMIT of {what}")

    Database._begun = watched  # type: ignore[method-assign] - that is the point


def spoil_api() -> None:
    from api import app, submission  # noqa: PLC0415 - see above
    from storage import videos  # noqa: PLC0415 - see above

    watch_commits(OF_API)
    label(videos, "create", "create")
    remember, create_app = submission._remember, app.create_app

    def remembered(served: Any, caller: Any, new: Any, *rest: Any) -> Any:
        fate(OF_API).passes("after the inputs were put" if new.plan.inputs else "before the transaction")
        return remember(served, caller, new, *rest)

    submission._remember = remembered

    def spoilt(*arguments: Any) -> Any:
        made = create_app(*arguments)
        made.add_middleware(Answered)
        return made

    app.create_app = spoilt


class Answered:
    """ASGI middleware that passes a point once a create is answered."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        async def sent(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                fate(OF_API).passes("after the answer")

        created = scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/v1/videos")
        await self._app(scope, receive, sent if created else send)


def spoil_worker() -> None:
    from storage import leases, outputs, schedule  # noqa: PLC0415 - see above
    from storage.objects import ObjectStore  # noqa: PLC0415 - see above
    from worker.pipeline import work  # noqa: PLC0415 - see above

    watch_commits(OF_WORKER)
    label(schedule, "claim_for_any_tenant", "claim")
    label(leases, "renew", "beat")
    label(outputs, "register", "keys")
    label(work, "_apply", "finish")
    put, settle = ObjectStore.put, work._settle

    def putting(self: ObjectStore, *arguments: Any) -> None:
        put(self, *arguments)
        fate(OF_WORKER).passes("after a put")

    def settling(*arguments: Any) -> Any:
        fate(OF_WORKER).passes("before the finish")
        return settle(*arguments)

    ObjectStore.put = putting  # type: ignore[method-assign] - that is the point
    work._settle = settling
    spoil_engine()


def spoil_engine() -> None:
    from engines.protocol import OnStep, Step  # noqa: PLC0415 - see above
    from engines.testcard import TestcardEngine  # noqa: PLC0415 - see above

    render = TestcardEngine.render

    def rendering(self: TestcardEngine, plan: Any, conditions: Any, on_step: OnStep) -> Any:
        def stepping(step: Step) -> None:
            on_step(step)
            if step.done == 2:
                harm(plan.seed)

        return render(self, plan, conditions, stepping)

    TestcardEngine.render = rendering  # type: ignore[method-assign] - that is the point


def harm(seed: int) -> None:
    """What a video of this seed does to its renderer, whose other threads live on if it hangs."""
    hung = Path(os.environ[PLAN]) / "hung"
    if seed == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == HANGS and not hung.exists():
        hung.write_text(str(time.time()))
        threading.Event().wait()


def spoil_dispatcher() -> None:
    """Where whoever works dies again and again, a video may meet more deaths than a video in the field."""
    from storage import leases  # noqa: PLC0415 - see above

    if json.loads((Path(os.environ[PLAN]) / "plan.json").read_text())["render"]:
        leases.MAX_CRASHES = 1000


def spoil_up() -> None:
    """Its processes are of this kind too."""
    from dataclasses import replace  # noqa: PLC0415 - see above

    from cli import up  # noqa: PLC0415 - see above
    from infra.embedded import supervisor  # noqa: PLC0415 - see above

    supervisor.BACK_OFF = (0.0,)  # who dies so often would else be started ever later
    programs = up.programs

    def spoilt(*arguments: Any) -> Any:
        made = programs(*arguments)
        argv = [[part if part != "cli.main" else "tests.journeys.crashing" for part in each.argv] for each in made]
        return [replace(each, argv=tuple(new)) for each, new in zip(made, argv, strict=True)]

    up.programs = spoilt


SPOILS = {"up": spoil_up, "api": spoil_api, "worker": spoil_worker, "dispatcher": spoil_dispatcher}
for word in sys.argv[1:3]:
    if word in SPOILS:
        SPOILS[word]()

if __name__ == "__main__":
    from cli import main

    sys.exit(main.main())
