"""A video: what was asked for (Request) and what will be rendered (Plan)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Self

SPEC_VERSION = 1
PROMPT_LIMIT = 32_000
SIZE_PATTERN = re.compile(r"(\d{2,5})x(\d{2,5})")


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
class Request:
    """What a client asked for, validated but not yet planned. `model` is kept as asked."""

    model: str
    prompt: str
    seconds: int
    size: Size
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    first_frame: str | None = None  # key of the uploaded image in the object store
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> dict[str, Any]:
        """The `videos.request` column."""
        return {**asdict(self), "size": str(self.size), "spec_version": SPEC_VERSION}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**_fields(stored, "size"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine renders: every value effective, nothing left to choose.

    The engine yields `rendered_frames` frames of size `rendered`, drawn `rendered_fps` times a second; the
    encoder repeats each of them until the clip runs at `fps`, scaled to `delivered`.
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

    @property
    def rendered_frames(self) -> int:
        """Frames that the engine yields."""
        return self.seconds * self.rendered_fps

    @property
    def frames(self) -> int:
        """Frames in the delivered file."""
        return self.seconds * self.fps

    def to_json(self) -> dict[str, Any]:
        """The `videos.plan` column."""
        sizes = {"rendered": str(self.rendered), "delivered": str(self.delivered)}
        return {**asdict(self), **sizes, "spec_version": SPEC_VERSION}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**_fields(stored, "rendered", "delivered"))


def _fields(stored: dict[str, Any], *sizes: str) -> dict[str, Any]:
    values = {key: value for key, value in stored.items() if key != "spec_version"}
    return {**values, **{name: Size.parse(stored[name]) for name in sizes}}
