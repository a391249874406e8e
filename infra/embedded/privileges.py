"""Which user Postgres runs as: it refuses root, so root starts it in a user namespace or else as nobody."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from infra.embedded.errors import StackError
from infra.embedded.process import through_shim

NOBODY_NEEDS = (
    "Postgres refuses to run as root, this system allows no user namespace, and the user nobody cannot reach {path}: "
    "start Kinema as a normal user, choose a --data DIR below a public directory, or set KINEMA_DATABASE_URL."
)


@lru_cache(maxsize=1)
def postgres_identity() -> str:
    """The shim's identity for Postgres. Asks the kernel once, by entering a namespace with `true`."""
    if os.geteuid() != 0:
        return "same"
    user = _unprivileged_user()
    namespace = f"namespace:{user.pw_uid}:{user.pw_gid}"
    if sys.platform == "linux" and _works(namespace):
        return namespace
    return f"user:{user.pw_uid}:{user.pw_gid}"


def _unprivileged_user() -> pwd.struct_passwd:
    """`nobody`, or whoever else is in passwd and not root: initdb wants a name for its user."""
    users = sorted((user for user in pwd.getpwall() if user.pw_uid), key=lambda user: user.pw_name != "nobody")
    if not users:
        raise StackError(
            "Postgres refuses to run as root and this system knows no other user: set KINEMA_DATABASE_URL."
        )
    return users[0]


def _works(identity: str) -> bool:
    true = shutil.which("true") or "/bin/true"
    trial = through_shim((true,), identity, signal.SIGKILL)
    return subprocess.run(trial, capture_output=True, check=False, timeout=10).returncode == 0


def hand_over(identity: str, directory: Path) -> None:
    """Gives a directory to the user that `identity` really becomes (a namespace leaves the files ours)."""
    kind, _, ids = identity.partition(":")
    if kind != "user":
        return
    uid, gid = map(int, ids.split(":"))
    _refuse_closed_parents(directory)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def reachable_by_others(path: Path) -> bool:
    """Whether any user may walk down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _refuse_closed_parents(directory: Path) -> None:
    if not reachable_by_others(directory):
        raise StackError(NOBODY_NEEDS.format(path=directory))
