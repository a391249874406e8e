"""Execs a program that dies with its launcher: `shim.py PARENT ORPHAN_SIGNAL IDENTITY PROGRAM ARGUMENTS...`.

A process of its own, because these steps belong between fork and exec, where a threaded launcher may not run Python.
IDENTITY is `same`, `namespace:UID:GID` (seen as that user, files stay ours) or `user:UID:GID` (really that user).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x1000_0000
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Takes the identity, ties its life to PARENT's, becomes PROGRAM. Raises OSError when the kernel refuses."""
    parent, orphan_signal, identity, *program = arguments
    become(identity)
    die_with(int(parent), int(orphan_signal))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
    os.execv(program[0], program)  # noqa: S606 - replacing this process is the point


def become(identity: str) -> None:
    """Changes the user; must come before `die_with`, which a change of credentials would undo."""
    kind, _, ids = identity.partition(":")
    if kind == "same":
        return
    uid, gid = map(int, ids.split(":"))
    if kind == "namespace":
        _enter_namespace(uid, gid)
    else:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _enter_namespace(uid: int, gid: int) -> None:
    own_uid, own_gid = os.geteuid(), os.getegid()
    _check(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {own_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {own_gid} 1")


def die_with(parent: int, orphan_signal: int) -> None:
    """Asks the kernel for `orphan_signal` at the parent's death; other systems than Linux have no such thing."""
    if sys.platform != "linux":
        return
    _check(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, orphan_signal))
    if os.getppid() != parent:
        sys.exit("the launcher is gone")


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
