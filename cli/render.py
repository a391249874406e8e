"""`kinema render`: submit a prompt to a running service with the official client, wait, download, check."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIStatusError, OpenAI
from openai.types import Video
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from moderation import provenance

# Every method of the client's videos resource warns that OpenAI switched its own server off.
warnings.filterwarnings("ignore", message="The Sora API is scheduled", category=DeprecationWarning)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("prompt")
    parser.add_argument("-o", "--output", type=Path, default=Path("video.mp4"), metavar="FILE")
    parser.add_argument("--model", default="sora-2")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", default="4")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--base-url", default=os.environ.get("KINEMA_BASE_URL", "http://127.0.0.1:8000/v1"))
    parser.add_argument("--trust-root", type=Path, help="PEM root that the provenance must lead to")


def run(options: argparse.Namespace) -> int:
    """0 with the file on disk; 1 with one sentence on stderr."""
    key = os.environ.get("KINEMA_API_KEY")
    if not key:
        print("Set KINEMA_API_KEY (`kinema up` prints one).", file=sys.stderr)
        return 1
    client = OpenAI(base_url=options.base_url, api_key=key)
    try:
        video = submit(client, options)
        video = follow(client, video)
        if video.status != "completed":
            print(f"{video.id} failed: {video.error.message if video.error else 'no reason given'}", file=sys.stderr)
            return 1
        download(client, video, options.output)
    except APIStatusError as error:
        print(error.message, file=sys.stderr)
        return 1
    except APIConnectionError:
        print(f"No service answers at {options.base_url}.", file=sys.stderr)
        return 1
    root = options.trust_root.read_text() if options.trust_root else None
    print(f"{options.output}  {provenance_line(options.output, root)}")
    return 0


def submit(client: OpenAI, options: argparse.Namespace) -> Video:
    """The create call, exactly as code for Sora makes it."""
    extras: dict[str, Any] = {} if options.seed is None else {"seed": options.seed}
    return client.videos.create(
        prompt=options.prompt, model=options.model, size=options.size, seconds=options.seconds, extra_body=extras
    )


def follow(client: OpenAI, video: Video) -> Video:
    """Poll until the end, with a progress bar on a terminal and a line per stage elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("queued", total=100)
        while video.status in {"queued", "in_progress"}:
            time.sleep(0.3)
            video = client.videos.retrieve(video.id)
            bars.update(task, completed=video.progress, description=stage_of(video))
    return video


def stage_of(video: Video) -> str:
    """What the service says that it is doing."""
    return str((video.model_extra or {}).get("stage") or video.status)


def download(client: OpenAI, video: Video, path: Path) -> None:
    """The MP4, written whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(client.videos.download_content(video.id).content)
    part.replace(path)


def provenance_line(path: Path, trust_root_pem: str | None) -> str:
    """One line on the file's Content Credentials."""
    found = provenance.verify(path, "video/mp4", trust_root_pem)
    signer = f", signed by {found.signer}" if found.signer else ""
    return f"provenance: {found.state}{signer}"
