"""A video: what was asked for (Request) and what will be rendered (Plan)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self, cast
from uuid import UUID

SPEC_VERSION = 1
PROMPT_LIMIT = 32_000
SIZE_PATTERN = re.compile(r"(\d{2,5})x(\d{2,5})")
# All that stays of `videos.request` and `videos.plan` when a video is forgotten: choices and numbers. A word that
# somebody wrote, or the key of something uploaded, is not among them, nor is any parameter that nobody thought of.
KEPT = frozenset(
    {
        "spec_version",
        "model",
        "seconds",
        "size",
        "seed",
        "steps",
        "guidance",
        "fps",
        "motion_intensity",
        "strength",
        "operation",
        "source",
        "source_seconds",
        "priority",
        "rendered",
        "rendered_fps",
        "delivered",
    }
)
ERASED: dict[str, Any] = {"prompt": ""}  # required, so it stays as nothing


class Operation(StrEnum):
    """How a video comes to be: from words, or from another video."""

    CREATE = "create"
    REMIX = "remix"  # the source's settings and seed under a new prompt
    EDIT = "edit"  # the source repainted, as long and as large as it is
    EXTEND = "extend"  # new seconds after the source's last frame; the file holds both


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels; written ``1280x720``."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless the text is ``<width>x<height>``."""
        match = SIZE_PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"not a size: {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A picture that the clip shows at a moment. `image` is a key in the object store."""

    second: float
    image: str


@dataclass(frozen=True, slots=True)
class Shot:
    """A part of the clip with a prompt of its own. `reference` is the key of the picture that opens it."""

    prompt: str
    seconds: int
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter of the model, by the name that models.toml gives it."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for, validated but not yet planned. `model` is kept as asked; pictures and clips are keys.

    An extension's `seconds` are the new ones.
    """

    model: str
    prompt: str
    seconds: int
    size: Size
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    first_frame: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    negative_prompt: str | None = None
    fps: int | None = None
    style: str | None = None
    motion_intensity: float | None = None  # 0 (still) to 1
    strength: float | None = None  # 0 (the source as it is) to 1 (nothing of it)
    operation: Operation = Operation.CREATE
    source: UUID | None = None  # the tenant's video that this one comes from
    source_clip: str | None = None  # an MP4
    source_seconds: float = 0.0  # its length
    last_frame: str | None = None
    mask: str | None = None
    keyframes: tuple[Keyframe, ...] = ()
    shots: tuple[Shot, ...] = ()
    loras: tuple[Lora, ...] = ()
    characters: tuple[UUID, ...] = ()
    character_clips: tuple[str, ...] = ()  # theirs, in the same order
    priority: int = 0
    safety_identifier: str | None = None
    webhook_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The `videos.request` column."""
        source = None if self.source is None else str(self.source)
        typed = {"size": str(self.size), "source": source, "characters": [str(each) for each in self.characters]}
        return {**asdict(self), **typed, "spec_version": SPEC_VERSION}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`. What a row does not have yet takes its default."""
        values = _fields(stored, "size")
        if values.get("source") is not None:
            values["source"] = UUID(values["source"])
        values["characters"] = tuple(UUID(each) for each in values.get("characters", ()))
        values["character_clips"] = tuple(values.get("character_clips", ()))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine renders: every value effective, nothing left to choose. Pictures and clips are keys.

    The engine yields `rendered_frames` frames of size `rendered`, drawn `rendered_fps` times a second; the
    encoder repeats each of them until the clip runs at `fps`, scaled to `delivered`. For an extension these are the
    new seconds; the delivered file holds the source before them.
    """

    model: str  # the catalogue's name, never an alias
    prompt: str
    seconds: int
    rendered: Size
    rendered_fps: int
    delivered: Size
    fps: int  # a multiple of rendered_fps
    seed: int  # 0 <= seed < 2**63
    steps: int
    guidance: float
    negative_prompt: str = ""
    first_frame: str | None = None  # key in the object store; the pixels reach the engine as Conditions
    style: str = ""
    motion_intensity: float | None = None  # None: as much as the model moves by itself
    strength: float | None = None  # None: there is no source to keep anything of
    operation: Operation = Operation.CREATE
    source_clip: str | None = None
    source_seconds: float = 0.0
    last_frame: str | None = None
    mask: str | None = None  # white is repainted
    keyframes: tuple[Keyframe, ...] = ()  # by second
    shots: tuple[Shot, ...] = ()  # their seconds add up to `seconds`
    loras: tuple[Lora, ...] = ()
    characters: tuple[str, ...] = ()  # clips that show who is meant

    @property
    def texts(self) -> tuple[str, ...]:
        """All that somebody wrote about the picture; whoever moderates reads every one."""
        written = (self.prompt, self.negative_prompt, self.style, *(shot.prompt for shot in self.shots))
        return tuple(text for text in written if text)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The keys that belong to this video alone; characters lend theirs to many."""
        frames = (*(frame.image for frame in self.keyframes), *(shot.reference for shot in self.shots))
        keys = (self.first_frame, self.last_frame, self.mask, self.source_clip, *frames)
        return tuple(key for key in keys if key is not None)

    @property
    def rendered_frames(self) -> int:
        """Frames that the engine yields."""
        return self.seconds * self.rendered_fps

    @property
    def frames(self) -> int:
        """Frames in the delivered file that come from the engine."""
        return self.seconds * self.fps

    @property
    def source_frames(self) -> int:
        """Frames of the source that precede them in the delivered file."""
        return round(self.source_seconds * self.fps) if self.operation is Operation.EXTEND else 0

    @property
    def total_seconds(self) -> float:
        """Length of the delivered file."""
        return self.seconds + (self.source_seconds if self.operation is Operation.EXTEND else 0)

    def to_json(self) -> dict[str, Any]:
        """The `videos.plan` column."""
        sizes = {"rendered": str(self.rendered), "delivered": str(self.delivered)}
        return {**asdict(self), **sizes, "spec_version": SPEC_VERSION}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`. What a row does not have yet takes its default."""
        values = _fields(stored, "rendered", "delivered")
        values["characters"] = tuple(values.get("characters", ()))
        return cls(**values)


def _fields(stored: dict[str, Any], *sizes: str) -> dict[str, Any]:
    values = {key: value for key, value in stored.items() if key != "spec_version"}
    parts = {"keyframes": Keyframe, "shots": Shot, "loras": Lora}
    lists = {
        name: tuple(kind(**each) for each in cast("list[dict[str, Any]]", values.get(name, ())))
        for name, kind in parts.items()
    }
    operation = Operation(values.get("operation", Operation.CREATE))
    return {**values, **lists, "operation": operation, **{name: Size.parse(stored[name]) for name in sizes}}
