"""Publish: screen the frames, sign all three files, upload them, and make them visible in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from domain import ids
from domain.errors import NotFound
from domain.lifecycle import State
from domain.video import Plan
from moderation import frames
from moderation.manifest import Facts, Input, prompt_digest
from storage import outputs, verdicts, videos
from storage.database import Connection
from storage.outputs import CONTENT_TYPES, SUFFIXES, Kind, Output
from storage.schedule import Lease
from storage.videos import Rendering, Video
from worker.lease import Pulse
from worker.outcome import Done, Failed, Lost, Outcome, Refused, Undone
from worker.patience import insist
from worker.pipeline import uploads
from worker.process import Process

AFTER = {"allow": State.COMPLETED, "review": State.HELD, "block": State.BLOCKED}


def publish(process: Process, lease: Lease, video: Video, pulse: Pulse) -> Outcome:
    """Nothing unsigned and nothing unscreened becomes reachable: every early return leaves drafts only."""
    with process.database.transaction(lease.tenant_id) as connection:
        rendering = videos.rendering(connection, lease.tenant_id, lease.video_id)
        allowed = verdicts.allowed_by_person(connection, lease.tenant_id, lease.video_id)
    if rendering is None:
        return Failed("publish_failed")
    with process.folder() as folder:
        try:
            drafts = _fetch(process, lease, rendering, folder, pulse)
        except NotFound:
            return Undone()
        verdict = frames.judge(drafts[Kind.VIDEO], process.frame_classifier)
        if verdict.action == "block" or (verdict.action == "review" and not allowed):
            return Refused(AFTER[verdict.action], lambda connection: _remember(connection, lease, verdict))
        files = _sign_and_upload(process, lease, drafts, _facts(process, video, rendering, folder, pulse), pulse)
    if files is None:
        return Lost()

    def record(connection: Connection) -> None:
        _remember(connection, lease, verdict)
        outputs.publish(connection, lease.tenant_id, lease.video_id, files)

    return Done(State.COMPLETED, record)


def _fetch(process: Process, lease: Lease, rendering: Rendering, folder: Path, pulse: Pulse) -> dict[Kind, Path]:
    paths = {kind: folder / f"draft.{SUFFIXES[kind]}" for kind in Kind}
    for number, (kind, key) in enumerate(outputs.drafts_of(lease, rendering.fence).items()):
        insist(pulse, partial(process.store.fetch, key, paths[kind]))
        pulse.advance("publish", number, 9)
    return paths


def _facts(process: Process, video: Video, rendering: Rendering, folder: Path, pulse: Pulse) -> Facts:
    def fetched(name: str, key: str, mime: Literal["image/png", "video/mp4"]) -> Input:
        path = folder / f"input.{name}"
        insist(pulse, partial(process.store.fetch, key, path))
        return Input(name, mime, path)

    clip = video.plan.source_clip
    return Facts(
        video_id=ids.public(ids.Kind.VIDEO, video.id),
        model=video.plan.model,
        checkpoint=rendering.checkpoint,
        prompt_digest=prompt_digest(video.plan.prompt, next(iter(process.settings.peppers.values()))),
        created_at=rendering.ended_at,
        inputs=tuple(fetched(*entry) for entry in _shown_to_the_model(video.plan)),
        source=None if clip is None else fetched("source", clip, "video/mp4"),
        source_is_generated=video.request.source is not None,
    )


def _shown_to_the_model(plan: Plan) -> Iterator[tuple[str, str, Literal["image/png", "video/mp4"]]]:
    """Name, key and type of each picture and clip that steered the render; a mask shows nothing."""
    pictures = {"first-frame": plan.first_frame, "last-frame": plan.last_frame}
    pictures |= {f"keyframe-{number}": frame.image for number, frame in enumerate(plan.keyframes, 1)}
    pictures |= {f"shot-{number}": shot.reference for number, shot in enumerate(plan.shots, 1)}
    for name, key in pictures.items():
        if key is not None:
            yield name, key, "image/png"
    for number, key in enumerate(plan.characters, 1):
        yield f"character-{number}", key, "video/mp4"


def _sign_and_upload(
    process: Process, lease: Lease, drafts: dict[Kind, Path], facts: Facts, pulse: Pulse
) -> list[Output] | None:
    """Signed copies in the store, their keys written down first. None: the lease was lost."""
    keys = {kind: outputs.key(lease, kind) for kind in Kind}
    if not uploads.register(process, lease, pulse, "output", keys):
        return None
    files: list[Output] = []
    for number, (kind, draft) in enumerate(drafts.items()):
        signed = process.notary.sign(draft, draft.with_stem("signed"), facts)
        uploads.put(process, pulse, kind, keys[kind], signed.path)
        files.append(Output(kind, keys[kind], CONTENT_TYPES[kind], bytes.fromhex(signed.sha256), signed.size))
        pulse.advance("publish", 3 + 2 * number, 9)
    return files


def _remember(connection: Connection, lease: Lease, verdict: frames.Verdict) -> None:
    verdicts.record(
        connection,
        lease.tenant_id,
        lease.video_id,
        subject="output",
        decision=verdict.action,
        policy=verdict.policy,
        model=verdict.model,
        scores=dict(verdict.scores),
    )
