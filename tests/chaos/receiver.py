"""The far end of webhooks: it refuses for some seconds out of ten while it flaps, and remembers what it accepted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PERIOD_SECONDS = 10.0
DOWN_SECONDS = 3.5  # less than the first retry waits
HTTP_OK, HTTP_FAILURE = 200, 500


@dataclass
class Receiver:
    """What came. `told` is the id of each accepted message, and the video that it is about."""

    port: int = 0
    flaps: bool = True
    refused: int = 0
    repeated: int = 0
    told: dict[str, str] = field(default_factory=dict)
    begun_at: float = field(default_factory=time.monotonic)

    def take(self, message_id: str, body: bytes) -> int:
        """The status to answer with."""
        if self.flaps and (time.monotonic() - self.begun_at) % PERIOD_SECONDS < DOWN_SECONDS:
            self.refused += 1
            return HTTP_FAILURE
        self.repeated += message_id in self.told
        self.told[message_id] = json.loads(body)["data"]["id"]
        return HTTP_OK


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for as long as the block lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(receiver.take(self.headers["webhook-id"], body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
