"""The table of contents of `kinema`; each command is a module, imported only when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from domain.errors import Failure
from runtime.settings import InvalidSettings


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives and what it is for."""

    module: str
    summary: str


class Module(Protocol):
    """What each command's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's options."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Does it; the exit status."""
        ...


COMMANDS = {
    "up": Command("cli.up", "start everything on this machine and keep it running"),
    "demo": Command("cli.demo", "start everything, render a first video, and show what happened"),
    "render": Command("cli.render", "render a prompt with a running service"),
    "serve": Command("cli.serve", "run one process of the service"),
    "migrate": Command("cli.migrate", "bring the database's schema up to date"),
    "tenants": Command("cli.tenants", "who may use the service, and how much of it"),
    "keys": Command("cli.keys", "API keys of tenants"),
    "admin-keys": Command("cli.admin_keys", "keys of administrators"),
    "videos": Command("cli.videos", "find and steer videos, decide about held ones"),
    "usage": Command("cli.usage", "what tenants were charged"),
    "workers": Command("cli.workers", "who works, what waits"),
    "audit": Command("cli.audit", "who changed what"),
    "secrets": Command("cli.secrets", "rotate peppers and encryption keys"),
    "backup": Command("cli.backup", "copy what runs here: database, objects, secrets"),
    "restore": Command("cli.restore", "put such a copy in the place of what is there"),
    "objects": Command("cli.objects", "hold the database and the object store against each other"),
    "train": Command("cli.train", "train the embedded model, measure it, fine-tune it"),
    "provenance": Command("cli.provenance", "make a development identity for signing results"),
    "health": Command("cli.health", "say whether a process does its work"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names; its exit status; 2 if there is none, or for bad settings."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"-h", "--help"}:
        print(contents())
        return 0
    if name not in COMMANDS:
        print(f"kinema has no command {name!r}.\n{contents()}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    module = cast("Module", import_module(command.module))
    parser = argparse.ArgumentParser(prog=f"kinema {name}", description=command.summary)
    module.configure(parser)
    try:
        return module.run(parser.parse_args(rest))
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        return 2
    except Failure as error:
        print(error.message, file=sys.stderr)
        return 1


def contents() -> str:
    """One line per command."""
    lines = [f"  {name:<10} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: kinema COMMAND [options]", *lines, "`kinema COMMAND --help` lists a command's options."])


if __name__ == "__main__":
    sys.exit(main())
