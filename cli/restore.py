"""`kinema restore`: put a copy made by `kinema backup` in the place of what a data directory holds."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cli.first_run import migrate
from infra.embedded import copies, secret_folder
from infra.embedded.errors import StackError, explain_os_error
from infra.embedded.own_servers import refuse_own
from infra.embedded.stack import start
from infra.embedded.supervisor import Stopped, Supervisor
from storage.bootstrap import bootstrap


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("source", type=Path, metavar="DIR", help="what `kinema backup` made")
    parser.add_argument("--data", type=Path, default=Path(".kinema"), help="where it goes; nothing may run on it")


def run(options: argparse.Namespace) -> int:
    """0; 1 with one sentence on stderr. Database and secrets that were there stay until the copy is whole."""
    supervisor = Supervisor(options.data)
    try:
        with supervisor.handling_signals():
            count = _restore(supervisor, options.source.resolve())
    except Stopped:
        return 1
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(explain_os_error(error, supervisor.data), file=sys.stderr)
        return 1
    finally:
        supervisor.stop()
    print(f"{options.data} holds what the backup held, {count} objects among it. Now: kinema up --data {options.data}")
    print(f"Then see what differs: kinema objects check --data {options.data}")
    return 0


def _restore(supervisor: Supervisor, source: Path) -> int:
    refuse_own(os.environ, "restore")
    copies.check(source)
    supervisor.own_data()
    with secret_folder.beside(source / secret_folder.SECRETS, supervisor.data) as draft:
        stack = start(supervisor.data, supervisor)
        bootstrap(stack.endpoints.owner_database_url, stack.credentials.postgres_app)  # the roles that the copy names
        copies.restore_database(source, stack.endpoints)
        secret_folder.adopt(draft, supervisor.data)
    migrate(stack)
    return copies.restore_objects(source, stack.endpoints)
