"""A video server on loopback that behaves as vLLM-Omni, SGLang Diffusion or plain OpenAI are documented to.

It draws with the test card and encodes with our encoder, keeps its videos in memory as they all do, and can be told
to misbehave. What differs between the dialects:

- vLLM-Omni: forms only (JSON is 400); one frame unless `num_frames` says more; `user` is kept; no percentage; DELETE
  aborts; refusals are `{"error": …}`.
- SGLang: JSON, or a form that must hold a picture and keeps most extensions in `extra_body`; 0 and then 100 percent;
  DELETE drops the record while the GPU goes on; no `code` in errors; refusals are `{"detail": …}`.
- OpenAI: `size` and `seconds` decide; anything else in the form is 400; a percentage that moves.
"""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from PIL import Image

from domain.video import Plan, Size
from engines.encode import encode
from engines.protocol import Conditions
from engines.testcard import TestcardEngine

OPENAI_FIELDS = {"prompt", "model", "size", "seconds", "input_reference"}


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    files: dict[str, bytes]


@dataclass
class Rendering:
    """One video of the far end."""

    id: str
    fields: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    aborted: float | None = None
    error: dict[str, Any] | None = None


@dataclass
class Misbehaviour:
    """What goes wrong. Answers are taken in turn by the requests of that method and kind of path."""

    create: list[Callable[[Handler], None] | tuple[int, dict[str, str], Any]] = field(default_factory=list)
    look: list[Callable[[Handler], None] | tuple[int, dict[str, str], Any]] = field(default_factory=list)
    content: list[Callable[[Handler], None] | tuple[int, dict[str, str], Any]] = field(default_factory=list)
    delete: list[Callable[[Handler], None] | tuple[int, dict[str, str], Any]] = field(default_factory=list)
    size: Size | None = None  # draws another
    frames: int | None = None  # draws so many
    fps: int | None = None  # draws at another rate
    error: dict[str, Any] | None = None  # every render fails with it


class FarEnd(ThreadingHTTPServer):
    """The server; `jobs` and `asked` are for tests to look at."""

    daemon_threads = True

    def __init__(self, dialect: str, seconds: float, key: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dialect = dialect
        self.seconds = seconds  # that a render takes
        self.key = key
        self.jobs: dict[str, Rendering] = {}
        self.made: list[Rendering] = []
        self.keys: dict[str, Rendering] = {}
        self.asked: list[Asked] = []
        self.wrong = Misbehaviour()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def of(self, method: str, ending: str = "") -> list[Asked]:
        return [each for each in self.asked if each.method == method and each.path.endswith(ending)]

    def forget(self) -> None:
        """As after a restart."""
        self.jobs.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""


class Handler(BaseHTTPRequestHandler):
    server: FarEnd
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = self._asked()
        if self._misbehaved(self.server.wrong.create):
            return
        if reason := self._refusal(asked):
            self.refuse(400, reason)
            return
        self.answer(200, self._shown(self.begin(asked)))

    def begin(self, asked: Asked) -> Rendering:
        """A video of its own; at a Kinema the one that the key names, if there is one."""
        key = asked.headers.get("idempotency-key", "") if self.server.dialect == "kinema" else ""
        if key in self.server.keys:
            return self.server.keys[key]
        fields = {**asked.fields, **continued(asked)}
        job = Rendering(f"video_{uuid.uuid4().hex}", fields, error=self.server.wrong.error)
        self.server.jobs[job.id] = job
        self.server.made.append(job)
        if key:
            self.server.keys[key] = job
        return job

    def do_GET(self) -> None:
        self._asked()
        content = self.path.endswith("/content")
        if self._misbehaved(self.server.wrong.content if content else self.server.wrong.look):
            return
        job = self.server.jobs.get(self.path.split("/")[3])
        if job is None:
            self.refuse(404, "Video not found")
        elif not content:
            self.answer(200, self._shown(job))
        elif self._shown(job)["status"] != "completed":
            self.refuse(404, "Generation is still in-progress")
        else:
            self.send(200, {"content-type": "video/mp4"}, self.drawn(job))

    def do_DELETE(self) -> None:
        self._asked()
        if self._misbehaved(self.server.wrong.delete):
            return
        job = self.server.jobs.pop(self.path.split("/")[3], None)
        if job is None:
            self.refuse(404, "Video not found")
            return
        if self.server.dialect != "sglang":  # which only drops the record
            job.aborted = time.monotonic()
        self.answer(200, {"id": job.id, "object": "video.deleted", "deleted": True})

    def drawn(self, job: Rendering) -> bytes:
        return draw(job.fields, self.server.wrong)

    def _asked(self) -> Asked:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fields, files = parsed(headers.get("content-type", ""), body)
        asked = Asked(self.command, self.path, headers, fields, files)
        self.server.asked.append(asked)
        return asked

    def _refusal(self, asked: Asked) -> str:
        as_json = asked.headers.get("content-type", "").startswith("application/json")
        dialect = self.server.dialect
        if self.server.key and asked.headers.get("authorization") != f"Bearer {self.server.key}":
            return f"Incorrect API key: {asked.headers.get('authorization')}"
        if dialect == "vllm-omni" and as_json:
            return "Invalid request: expected a form"
        if dialect == "sglang" and not as_json and "input_reference" not in asked.files:
            return "input_reference file is required"
        if dialect == "openai" and (extra := (set(asked.fields) | set(asked.files)) - OPENAI_FIELDS):
            return f"Unknown parameter: {', '.join(sorted(extra))}"
        return "" if asked.fields.get("prompt") else "prompt is required"

    def _misbehaved(self, script: list[Any]) -> bool:
        if not script:
            return False
        step = script.pop(0)
        if callable(step):
            step(self)
        else:
            status, headers, body = step
            self.send(status, {"content-type": "application/json", **headers}, json.dumps(body).encode())
        return True

    def _shown(self, job: Rendering) -> dict[str, Any]:
        share = (time.monotonic() - job.started) / self.server.seconds
        done = share >= 1
        status = "queued" if share < 0.1 else "in_progress"
        if done:
            status = "completed" if job.error is None else "failed"
        moving = self.server.dialect == "openai"
        shown: dict[str, Any] = {"id": job.id, "status": status, "created_at": int(time.time())}
        if self.server.dialect != "vllm-omni":
            shown["progress"] = 100 if done else int(100 * share) if moving else 0
        if job.error is not None and done:
            shown["error"] = job.error
        return shown

    def refuse(self, status: int, reason: str) -> None:
        told = {"detail": reason} if self.server.dialect == "sglang" else {"error": {"message": reason, "code": None}}
        self.answer(status, told)

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, {"content-type": "application/json"}, json.dumps(body).encode())

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def parsed(content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files of a JSON object or a form, read by the standard library."""
    if content_type.startswith("application/json"):
        return json.loads(body or b"{}"), {}
    if not content_type.startswith("multipart/form-data"):
        return {}, {}
    message = BytesParser().parsebytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for part in message.get_payload():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        if part.get_filename() is None:
            fields[name] = content.decode()
        else:
            files[name] = content
    return fields, files


def draw(fields: dict[str, Any], wrong: Misbehaviour) -> bytes:
    """The MP4 that the fields ask for, or that goes wrong."""
    size, frames, fps = shape(fields)
    size, frames, fps = wrong.size or size, wrong.frames or frames, wrong.fps or fps
    plan = Plan(
        model="far", prompt="", seconds=frames, rendered=size, rendered_fps=1, delivered=size, fps=1,
        seed=int(fields.get("seed", 0)), steps=1, guidance=1.0,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        chunks = TestcardEngine().render(plan, Conditions(), lambda _: None)
        return paced(encode(chunks, plan, Path(folder), lambda *_: None).video, fps)


def paced(path: Path, fps: int) -> bytes:
    """The clip, whose frames last a second each, at that rate: packets as they are, with other times."""
    target = path.with_suffix(".paced.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            packet.pts, packet.dts = packet.pts // fps, packet.dts // fps
            packet.duration //= fps
            packet.stream = stream
            sink.mux(packet)
    return target.read_bytes()


def shape(fields: dict[str, Any]) -> tuple[Size, int, int]:
    """Size, frames and rate as a far end reads them."""
    extra = json.loads(fields["extra_body"]) if isinstance(fields.get("extra_body"), str) else {}
    known = {**extra, **fields}
    size = Size.parse(known.get("size") or f"{known['width']}x{known['height']}")
    fps = int(known.get("fps", 24))
    seconds = int(known["seconds"]) if "seconds" in known else 0
    return size, int(known.get("num_frames", seconds * fps or 1)), fps


def continued(asked: Asked) -> dict[str, Any]:
    """The shape of an edit or an extension, which is its clip's; that of an extension is longer."""
    if "video" not in asked.files:
        return {}
    with av.open(io.BytesIO(asked.files["video"])) as container:
        stream = container.streams.video[0]
        fps, size = int(stream.average_rate), f"{stream.width}x{stream.height}"
        more = int(asked.fields["seconds"]) * fps if asked.path.endswith("/extensions") else 0
        return {"size": size, "fps": fps, "num_frames": stream.frames + more}


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@contextmanager
def far_end(dialect: str = "vllm-omni", *, seconds: float = 0.05, key: str = "") -> Iterator[FarEnd]:
    """A running far end."""
    server = FarEnd(dialect, seconds, key)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
