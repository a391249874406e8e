"""Free loopback ports, remembered so that a restart on the same data answers at the same addresses."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.embedded.errors import StackError
from infra.embedded.private import read_json, write_private_json

# SeaweedFS expects gRPC at port + 10000; the whole range stays below 32768, where outgoing connections begin.
GRPC_OFFSET = 10_000
FIRST, LAST = 10_240, 21_999
TRIES = 1_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (a closed connection in TIME_WAIT does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def assign(
    state: Path,
    names: Iterable[str],
    pinned: Mapping[str, int] | None = None,
    preferred: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Gives every name a port and remembers them in `state`.

    A remembered port is kept while it is free, then a `preferred` one is tried. `pinned` ports were asked for by the
    user: StackError when one is taken.
    """
    pinned, preferred = pinned or {}, preferred or {}
    for name, port in pinned.items():
        refuse_taken(name, port)
    remembered: dict[str, int] = read_json(state)
    ports = {**remembered, **pinned}
    for name in names:
        if name in pinned:
            continue
        known = (ports.get(name, 0), preferred.get(name, 0))
        ports[name] = next(filter(_usable, known), 0) or _draw(taken=set(ports.values()))
    write_private_json(state, ports)
    return ports


def refuse_taken(name: str, port: int) -> None:
    """Raises StackError when the port that the user chose is not free."""
    if not 0 < port < 2**16:
        raise StackError(f"{port} is not a port: choose one from 1 to 65535 with --port.")
    if not is_free(port):
        raise StackError(
            f"Port {port} for the {name} is taken by another program: stop that program or choose another with --port."
        )


def _usable(port: int) -> bool:
    return port > 0 and is_free(port) and (port > LAST or is_free(port + GRPC_OFFSET))


def _draw(taken: set[int]) -> int:
    for _ in range(TRIES):
        port = random.randint(FIRST, LAST)  # noqa: S311 - spreads concurrent stacks apart, guards nothing
        if port not in taken and _usable(port):
            return port
    raise StackError(f"No free port between {FIRST} and {LAST}: stop programs that listen on this machine.")
