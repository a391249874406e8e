"""`kinema up`: servers, schema, keys, then Kinema's own processes, all under one supervisor until a signal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.first_run import ensure_admin_key, ensure_api_key, migrate, signing_settings
from cli.processes import ROOT, Surroundings, programs, table
from domain import catalogue
from domain.catalogue import Model
from domain.errors import NotFound
from infra.embedded import ports
from infra.embedded.errors import StackError, explain_os_error
from infra.embedded.private import private_directory
from infra.embedded.stack import Stack, start
from infra.embedded.state_file import StateFile
from infra.embedded.supervisor import Stopped, Supervisor

API_PORT = 8000
MODELS = ROOT / "models.toml"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is known once everything answers: the content of up.json without the processes."""

    base_url: str
    api_key: str
    admin_key: str
    dashboard_url: str | None
    webhook_loopback: bool
    trust_root: str

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    def as_text(self, data: Path) -> str:
        """A few lines for people."""
        lines = [("API", self.base_url), ("API key", self.api_key), ("admin key", self.admin_key)]
        lines += [("dashboard", self.dashboard_url)]
        lines += [("logs", str(data / "logs")), ("all of this", str(data / "up.json"))]
        rows = [f"  {name:<12} {value}" for name, value in lines if value]
        return "\n".join(["Kinema is up; Ctrl-C stops it.", *rows])


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--data", type=Path, default=Path(".kinema"), metavar="DIR", help="where everything is kept")
    parser.add_argument("--port", type=int, help=f"of the API (default: the last one, at first {API_PORT} if free)")
    parser.add_argument("--render-workers", type=int, default=1, metavar="N", help="processes that render")
    parser.add_argument("--model", metavar="NAME", help="whose renderers to run (default: the first in models.toml)")
    parser.add_argument("--no-dashboard", action="store_true", help="do not serve the dashboard")
    parser.add_argument("--json", action="store_true", help="say what runs as one line of JSON")


def run(options: argparse.Namespace) -> int:
    """Runs until SIGINT or SIGTERM; 1 with one sentence on stderr when it cannot run."""
    state = StateFile(options.data.resolve() / "up.json")
    supervisor = Supervisor(options.data, on_change=state.on_change)
    try:
        with supervisor.handling_signals():
            serve(supervisor, state, options)
    except Stopped:
        return 0
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(explain_os_error(error, supervisor.data), file=sys.stderr)
        return 1
    finally:
        state.remove()
        supervisor.stop()
    return 0


def serve(supervisor: Supervisor, state: StateFile, options: argparse.Namespace) -> None:
    """Starts everything in order, says so, and keeps it running."""
    model = _model(options.model)
    supervisor.own_data()  # ends an earlier run's leftovers, which may hold the port
    state.begin()
    if options.port is not None:
        ports.refuse_taken("API", options.port)
    stack = start(supervisor.data, supervisor)
    migrate(stack)
    numbers = _ports(stack.data, options.port)
    environment = _environment(stack, numbers, model)
    api_key = ensure_api_key(stack.data, environment)
    admin_key = ensure_admin_key(stack.data, environment)
    signing = signing_settings(stack.data)
    rows = table(model.queue, options.render_workers)
    supervisor.start(programs(rows, Surroundings(stack.data, environment, signing, numbers)))
    installation = Installation(
        base_url=f"http://127.0.0.1:{numbers['api']}/v1",
        api_key=api_key,
        admin_key=admin_key,
        dashboard_url=None,
        webhook_loopback=environment["KINEMA_WEBHOOK_ALLOW_LOOPBACK"] == "true",
        trust_root=signing["KINEMA_PROVENANCE_ROOT_FILE"],
    )
    state.publish(asdict(installation))
    print(installation.as_json() if options.json else installation.as_text(stack.data), flush=True)
    supervisor.run()


def _model(name: str | None) -> Model:
    """The model to render with. Raises StackError for one that models.toml does not have."""
    known = catalogue.load(Path(os.environ.get("KINEMA_MODELS_FILE") or MODELS), testcard=True)
    try:
        return known.find(name) if name else known.models[0]
    except NotFound as error:
        names = ", ".join(model.name for model in known.models)
        raise StackError(f"{error} Choose one of: {names}.") from error


def _ports(data: Path, wanted: int | None) -> dict[str, int]:
    pinned = {} if wanted is None else {"api": wanted}
    return ports.assign(data / "ports.json", ("api", "moderator"), pinned, preferred={"api": API_PORT})


def _environment(stack: Stack, numbers: dict[str, int], model: Model) -> dict[str, str]:
    """The settings of Kinema's processes: what is fixed here wins, for the rest the user's own variables do."""
    defaults = {
        "KINEMA_KEY_PEPPER": stack.credentials.key_pepper,
        "KINEMA_WEBHOOK_KEY": stack.credentials.webhook_key,
        "KINEMA_WEBHOOK_ALLOW_LOOPBACK": "true",
        "KINEMA_MODELS_FILE": str(MODELS),
        "KINEMA_TESTCARD": str(model.engine == "testcard").lower(),
        "KINEMA_GRACE_SECONDS": "8",  # less than the supervisor's patience
    }
    fixed = {
        "KINEMA_API_HOST": "127.0.0.1",
        "KINEMA_API_PORT": str(numbers["api"]),
        "KINEMA_MODERATOR_PORT": str(numbers["moderator"]),
        "KINEMA_MODERATION_URL": f"http://127.0.0.1:{numbers['moderator']}",
        "KINEMA_WORK_DIR": str(private_directory(stack.data / "work")),
    }
    served = stack.endpoints.environment()
    del served["KINEMA_OWNER_DATABASE_URL"]  # the schema is current; nobody else may change it
    return {**defaults, **os.environ, **fixed, **served}
