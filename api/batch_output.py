"""What a batch gives back: JSON lines of finished videos in one file, of everything else in another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from api import schemas
from domain import ids
from domain.batches import LINE_ERRORS
from domain.lifecycle import State
from storage.batch_lines import Result
from storage.videos import Video


@dataclass
class Output:
    """A file that is being written. `lines` and `bytes` are what is in it so far."""

    path: Path
    lines: int = 0
    bytes: int = 0

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """One line of JSON for each."""
        raw = b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)
        with self.path.open("ab") as file:
            file.write(raw)
        self.lines += len(entries)
        self.bytes += len(raw)


def sort(results: Sequence[Result], videos: Mapping[UUID, Video]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines for the output file, and those for the error file."""
    written = [(result, None if result.video_id is None else videos.get(result.video_id)) for result in results]
    done = [_entry(result, video) for result, video in written if _succeeded(result, video)]
    rest = [_entry(result, video) for result, video in written if not _succeeded(result, video)]
    return done, rest


def _succeeded(result: Result, video: Video | None) -> bool:
    return result.error is None and video is not None and video.state is State.COMPLETED


def _entry(result: Result, video: Video | None) -> dict[str, Any]:
    refusal: dict[str, Any] = result.error or {}
    return {
        "id": f"batch_req_{result.request_id.hex}",
        "custom_id": result.custom_id,
        "response": _response(result, video, refusal),
        "error": None if "status_code" in refusal else _error(video, refusal),
    }


def _response(result: Result, video: Video | None, refusal: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer that the create gave, or the video that came of it; None for a line that never was a request."""
    request_id = ids.public(ids.Kind.REQUEST, result.request_id)
    if "status_code" in refusal:
        return {"status_code": refusal["status_code"], "request_id": request_id, "body": refusal["body"]}
    if video is None:
        return None
    return {"status_code": 200, "request_id": request_id, "body": schemas.video(video).model_dump(mode="json")}


def _error(video: Video | None, refusal: Mapping[str, Any]) -> dict[str, str] | None:
    if refusal:
        return {"code": str(refusal["code"]), "message": str(refusal["message"])}
    if video is None:
        return {"code": "video_deleted", "message": LINE_ERRORS["video_deleted"]}
    shown = schemas.video(video).error
    return None if shown is None else {"code": shown.code, "message": shown.message}
