"""`kinema health`: does the process beside it do its work? What the containers' health checks run."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from collections.abc import Callable
from contextlib import closing

from runtime import settings
from runtime.settings import InvalidSettings, Settings
from storage import health
from storage.database import Database
from storage.outages import OUTAGES

PATIENCE_SECONDS = 4.0
REAPED_WITHIN_SECONDS = 60.0


class Ill(Exception):
    """The process does not do its work; the message says how one can tell."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("role", choices=sorted(CHECKS))


def run(options: argparse.Namespace) -> int:
    """0 when it does; 1 with one sentence on stderr."""
    try:
        CHECKS[options.role](settings.load(needs=NEEDS.get(options.role, ())))
    except (Ill, InvalidSettings) as error:
        print(error, file=sys.stderr)
        return 1
    except OUTAGES as error:
        print(f"The database does not answer: {type(error).__name__}.", file=sys.stderr)
        return 1
    return 0


def api(loaded: Settings) -> None:
    """GET /readyz of this machine's API. Raises Ill."""
    _ask(loaded.api_port, "GET", "/readyz")


def moderator(loaded: Settings) -> None:
    """A harmless text must get its verdict. Raises Ill."""
    _ask(loaded.moderator_port, "POST", "/v1/moderations", {"input": "a red ball"})


def worker(loaded: Settings) -> None:
    """A worker of this host has reported to Postgres lately. Raises Ill."""
    with closing(_database(loaded)) as database, database.transaction_for_any_tenant() as connection:
        beats = health.worker_beats_for_any_tenant(connection, socket.gethostname())
    if not beats:
        raise Ill("No worker of this host has reported in the last 30 seconds.")


def dispatcher(loaded: Settings) -> None:
    """One has reported from this host, and no lease that ran out a minute ago is still held. Raises Ill."""
    with closing(_database(loaded)) as database, database.transaction_for_any_tenant() as connection:
        if not health.worker_beats_for_any_tenant(connection, socket.gethostname()):
            raise Ill("No dispatcher of this host has reported in the last 30 seconds.")
        overdue = health.overdue_leases_for_any_tenant(connection, REAPED_WITHIN_SECONDS)
    if overdue:
        raise Ill(f"{overdue} leases ran out more than a minute ago, and nobody took them back.")


CHECKS: dict[str, Callable[[Settings], None]] = {
    "api": api,
    "dispatcher": dispatcher,
    "moderator": moderator,
    "worker": worker,
}


NEEDS = {"dispatcher": ("database_url",), "worker": ("database_url",)}


def _database(loaded: Settings) -> Database:
    return Database(loaded.database_url, pool_size=1)


def _ask(port: int, method: str, path: str, body: object = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Ill(f"Nothing answers on port {port}: {type(error).__name__}.") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise Ill(f"{path} answered {status}.")
