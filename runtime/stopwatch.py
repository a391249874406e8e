"""How long each phase of one request took, as the HTTP library tells of it."""

from __future__ import annotations

import time

# What httpcore reports at the end of a phase, and what we call the phase.
_PHASES = {
    "connection.connect_tcp.complete": "connect",
    "connection.start_tls.complete": "tls",
    "http11.receive_response_headers.complete": "first_byte",
}


class Stopwatch:
    """Runs from the moment that it is made; `timings` are whole milliseconds of the phases that were completed."""

    def __init__(self) -> None:
        self.timings: dict[str, int] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """The phase ends here; the next one begins."""
        now = time.monotonic()
        self.timings[phase] = round((now - self._last) * 1000)
        self._last = now

    def trace(self, event: str, _info: object) -> None:
        """What httpcore calls, as its `trace` extension."""
        if event in _PHASES:
            self.lap(_PHASES[event])
