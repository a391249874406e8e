"""What a decoding process gives up before it reads a stranger's bytes: sockets, files, other processes, its own growth.

The kernel filters its calls (seccomp): it may compute, and read and write what it already has open. Opening anything
by name, connecting anywhere, starting anything fail as forbidden. A decoder that is taken over can do no more.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from moderation.media.limits import Limits

OPEN_FILES = 16
# What a decoder may ask of the kernel, with the call's number on x86_64 and on aarch64.
_CALLS = {
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "newfstatat": (262, 79),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "read": (0, 63),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "set_robust_list": (273, 99),
    "sigaltstack": (131, 132),
    "sysinfo": (99, 179),
    "write": (1, 64),
    "writev": (20, 66),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, name in the kernel's audit
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # instructions of the filter
_NUMBER_AT, _MACHINE_AT = 0, 4  # offsets in what it is shown
_ALLOW, _FORBID, _KILL = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000
_SET_PARENT_DEATH, _SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVILEGES = 1, 4, 22, 38
_FILTER_MODE = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends."""
    _prctl(_SET_PARENT_DEATH, signal.SIGKILL)


def confine(limits: Limits) -> None:
    """Of this process, for good. Raises OSError if the kernel will not."""
    with suppress(OSError):  # where it may not be written, the kernel's own choice stands
        Path("/proc/self/oom_score_adj").write_text("1000")  # in want of memory, this one goes first
    _bound(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
    _bound(resource.RLIMIT_CPU, limits.cpu_seconds)
    _bound(resource.RLIMIT_FSIZE, limits.file_bytes)
    _bound(resource.RLIMIT_NOFILE, OPEN_FILES)
    _bound(resource.RLIMIT_CORE, 0)
    _prctl(_SET_DUMPABLE, 0)
    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    if platform.machine() in _MACHINES:
        column, machine = _MACHINES[platform.machine()]
        _allow_only(machine, [numbers[column] for numbers in _CALLS.values()])


def _bound(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _allow_only(machine: int, numbers: Sequence[int]) -> None:
    """A call runs through the steps: of another machine it kills, with one of the numbers it passes, else it fails."""
    steps = [(_LOAD, 0, 0, _MACHINE_AT), (_IF_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER_AT)]
    steps += [(_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _FORBID), (_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    _prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program))


def _prctl(what: int, *values: object) -> None:
    arguments = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in values]
    arguments += [ctypes.c_ulong(0)] * (4 - len(arguments))
    if _LIBC.prctl(what, *arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


_LIBC = ctypes.CDLL(None, use_errno=True)
