"""`kinema demo`: start everything, render one prompt through the official client, and show what happened."""

from __future__ import annotations

import argparse
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from openai import InvalidWebhookSignatureError, OpenAI
from openai.types import Video

from cli.render import download, follow, provenance_line
from infra.embedded.process import through_shim

PROMPT = "a beautiful sunset over a mountain lake, with trees swaying in the wind"
OUTPUT = Path("kinema-demo.mp4")
START_SECONDS, WEBHOOK_SECONDS, STOP_SECONDS = 90, 20, 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook as it arrived."""

    headers: Mapping[str, str]
    body: bytes


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--exit", action="store_true", help="stop everything when the video is there")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--data", type=Path, default=Path(".kinema"), metavar="DIR", help="where everything is kept")


def run(options: argparse.Namespace) -> int:
    """0 when the video is there, its provenance is trusted and its webhook verified."""
    begun = time.monotonic()
    with _stack(options.data) as process:
        system = _wait_for(process, options.data)
        print(f"everything answers after {time.monotonic() - begun:.1f} s")
        good = _show(system, options.prompt, begun)
        if good and not options.exit:
            _stay(system, process)
    return 0 if good else 1


def _show(system: dict[str, Any], prompt: str, begun: float) -> bool:
    client = OpenAI(base_url=system["base_url"], api_key=system["api_key"])
    with _receiver() as (url, inbox), _endpoint(client, url) as secret:
        print(f"prompt: {prompt}")
        video = follow(client, client.videos.create(prompt=prompt, size="1280x720"))
        if video.status != "completed":
            print(f"the video failed: {video.error}", file=sys.stderr)
            return False
        download(client, video, OUTPUT)
        print(f"{OUTPUT} is on disk after {time.monotonic() - begun:.1f} s ({video.size}, {video.seconds} s)")
        print(stage_times(video))
        line = provenance_line(OUTPUT, Path(system["trust_root"]).read_text())
        print(line)
        arrived = _verified(client, inbox, secret, video)
    return arrived and line.startswith("provenance: trusted")


def stage_times(video: Video) -> str:
    """How long each stage took, as the service tells."""
    usage: dict[str, Any] = (video.model_extra or {}).get("usage") or {}
    waited = (video.completed_at or video.created_at) - video.created_at
    return f"stages: {usage.get('gpu_ms', 0) / 1000:.1f} s rendering of {waited} s in all"


def _verified(client: OpenAI, inbox: queue.Queue[Delivery], secret: str, video: Video) -> bool:
    try:
        delivery = inbox.get(timeout=WEBHOOK_SECONDS)
        event: Any = client.webhooks.unwrap(delivery.body, dict(delivery.headers), secret=secret)
    except queue.Empty:
        print("no webhook arrived", file=sys.stderr)
        return False
    except InvalidWebhookSignatureError:
        print("the webhook's signature is wrong", file=sys.stderr)
        return False
    print(f"webhook: {event.type} for {event.data.id} arrived, signature verified by client.webhooks.unwrap")
    return event.type == "video.completed" and event.data.id == video.id


def _stay(system: dict[str, Any], process: subprocess.Popen[bytes]) -> None:
    print(
        f"\nKinema stays up; Ctrl-C stops it.\n  base_url  {system['base_url']}\n  api_key   {system['api_key']}"
        + (f"\n  dashboard {system['dashboard_url']}" if system["dashboard_url"] else "")
    )
    try:
        process.wait()
    except KeyboardInterrupt:
        print("stopping")


@contextmanager
def _stack(data: Path) -> Generator[subprocess.Popen[bytes]]:
    """`kinema up` as a child that cannot outlive this command."""
    command = (sys.executable, "-m", "cli.main", "up", "--data", str(data), "--json")
    process = subprocess.Popen(
        through_shim(command, "same", signal.SIGTERM),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(process: subprocess.Popen[bytes], data: Path) -> dict[str, Any]:
    """What up.json says, once it is the child's own: one that was there before belongs to another run."""
    begun, state = time.time(), data / "up.json"
    while time.time() - begun < START_SECONDS and process.poll() is None:
        if state.exists() and state.stat().st_mtime > begun:
            return json.loads(state.read_text())
        time.sleep(0.1)
    raise SystemExit(f"Kinema did not start; the logs are in {data / 'logs'}.")


@contextmanager
def _endpoint(client: OpenAI, url: str) -> Generator[str]:
    """Registered while the demo runs; gives the signing secret."""
    endpoint = client.webhooks.create(name="demo", url=url, event_types=["video.completed", "video.failed"])  # pyright: ignore[reportArgumentType] - the client's list of events has lost the video ones
    try:
        yield endpoint.signing_secret
    finally:
        client.webhooks.delete(endpoint.id)


@contextmanager
def _receiver() -> Generator[tuple[str, queue.Queue[Delivery]]]:
    """A webhook receiver on a free loopback port."""
    inbox: queue.Queue[Delivery] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            inbox.put(Delivery(dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """The demo prints enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/webhooks", inbox
    finally:
        server.shutdown()
        server.server_close()
