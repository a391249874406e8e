"""Requests over kept connections from a few threads, and what the server's CPU paid for them."""

from __future__ import annotations

import http.client
import itertools
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

CONNECTIONS = 8
NUMBER = b"00000000"  # where a body says which one it is: identical creates would all be looked at as retries
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that is made again and again. `body` is sent as `content_type`, NUMBER in it each time another."""

    method: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(slots=True)
class Measured:
    """Sums over all rounds: requests, seconds of wall and of server CPU, milliseconds of each request."""

    requests: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    took: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of server CPU for each request."""
        return 1000 * self.cpu / self.requests

    @property
    def p95(self) -> float:
        """Milliseconds within which 95 % were answered."""
        return statistics.quantiles(self.took, n=20)[-1]


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one server with the keys of some tenants in turn."""

    port: int
    keys: Sequence[str]

    def press(self, call: Call, seconds: float, into: Measured) -> None:
        """Make the call from all connections for so long. Raises RuntimeError for an answer that is no success."""
        failures: list[str] = []
        cpu, begun = self.cpu(), time.monotonic()
        turns = itertools.cycle(self.keys)
        threads = [
            threading.Thread(target=self._repeat, args=(call, next(turns), begun + seconds, into.took, failures))
            for _ in range(CONNECTIONS)
        ]
        before = len(into.took)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise RuntimeError(failures[0])
        into.requests += len(into.took) - before
        into.seconds += time.monotonic() - begun
        into.cpu += self.cpu() - cpu

    def once(self, call: Call) -> bytes:
        """One call with the first key; its body. Raises RuntimeError for an answer that is no success."""
        return self._ask(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), call, self.keys[0])

    def each(self, call: Call, count: int) -> None:
        """So many calls one after the other over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for _ in range(count):
            self._ask(connection, call, self.keys[0])

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        return float(self.once(Call("GET", "/bench/cpu")))

    def _repeat(self, call: Call, key: str, until: float, took: list[float], failures: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while time.monotonic() < until and not failures:
            begun = time.perf_counter()
            try:
                self._ask(connection, call, key)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                failures.append(f"{call.method} {call.path}: {error}")
                return
            took.append(1000 * (time.perf_counter() - begun))

    def _ask(self, connection: http.client.HTTPConnection, call: Call, key: str) -> bytes:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": call.content_type, "x-stainless-retry-count": "0"}
        body = call.body and call.body.replace(NUMBER, b"%08d" % next(_numbers))
        connection.request(call.method, call.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{answer.status} {content[:300].decode(errors='replace')}")
        return content


def form(fields: Iterable[tuple[str, str]]) -> Call:
    """A create as OpenAI's Python client sends it: multipart, one part a field."""
    border = "bench-border"
    parts = [f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields]
    body = "".join([*parts, f"--{border}--\r\n"]).encode()
    return Call("POST", "/v1/videos", body, f"multipart/form-data; boundary={border}")
