"""The folder of secrets, replaced as a whole by a restored one: what a crash interrupts, the next start finishes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded.private import private_directory, read_json, write_private_json

SECRETS, STACK = "secrets", "stack.json"
RESTORED, BEFORE = "secrets.restored", "secrets.before"
# Of the servers, not of the data: a directory that has its own keeps them.
OF_SERVERS = ("postgres_owner", "postgres_app", "valkey", "s3_access_key", "s3_secret_key", "s3_kek")


@contextmanager
def beside(source: Path, data: Path) -> Iterator[Path]:
    """A copy of the folder `source` that no one uses yet, gone at the end unless adopted. Raises OSError."""
    draft = private_directory(data) / "secrets.restoring"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft)  # keeps 0600
        draft.chmod(0o700)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def adopt(draft: Path, data: Path) -> None:
    """Bring pepper, encryption key, signing identity and first keys into force. Raises OSError, with the old in force.

    The passwords of the servers that run on `data` stay; the old folder is kept as secrets.before.
    """
    ours = read_json(data / SECRETS / STACK)
    servers = {name: ours[name] for name in OF_SERVERS if name in ours}
    write_private_json(draft / STACK, {**read_json(draft / STACK), **servers})
    draft.rename(data / RESTORED)
    settle(data)


def settle(data: Path) -> None:
    """Put adopted secrets in their place, if that is not done yet. Raises OSError."""
    restored, current, before = data / RESTORED, data / SECRETS, data / BEFORE
    if not restored.exists():
        return
    if current.exists():
        shutil.rmtree(before, ignore_errors=True)
        current.rename(before)
    restored.rename(current)
