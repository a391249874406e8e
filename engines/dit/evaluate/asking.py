"""How the model is asked: plans of its own size and rate, clips as tensors, pictures and sources for its tasks."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domain.video import Plan, Size
from engines.dit.data import Clip, draw, seconds
from engines.dit.engine import DitEngine
from engines.encode import encode
from engines.footage import Footage
from engines.protocol import Conditions

LANDSCAPE = Size(256, 144)
FPS, SHOWN_FPS = 6, 12  # drawn and delivered
SECONDS = 4
GUIDANCE = 2.0
NOTHING = Conditions()


def plan_for(prompt: str, *, seed: int = 1, steps: int = 8, **changes: Any) -> Plan:
    """Four seconds at the model's own size and rate; `changes` are fields of the plan."""
    plan = Plan("kinema-dit", prompt, SECONDS, LANDSCAPE, FPS, LANDSCAPE, SHOWN_FPS, seed, steps, GUIDANCE)
    return replace(plan, **changes)


def frames_of(engine: DitEngine, plan: Plan, picture_HWC: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """All frames_THWC of a plan, perhaps from a first frame."""
    return rendered(engine, plan, Conditions(picture_HWC))


def rendered(engine: DitEngine, plan: Plan, conditions: Conditions = NOTHING) -> NDArray[np.uint8]:
    """All frames_THWC of a plan under its conditions."""
    return np.concatenate(list(engine.render(plan, conditions, lambda _: None)))


@dataclass(frozen=True, slots=True)
class Exam:
    """A loaded model, and how thoroughly and with how many steps it is examined."""

    engine: DitEngine
    count: int = 100  # prompts of the largest parts; the others shrink with it
    steps: int = 8
    size: Size = LANDSCAPE

    def some(self, of_hundred: int) -> int:
        """How many clips a part takes that takes `of_hundred` when the largest takes 100."""
        return max(2, round(of_hundred * self.count / 100))

    def make(self, prompt: str, *, seed: int, conditions: Conditions = NOTHING, **changes: Any) -> Tensor:
        """The model's clip: video_TCHW in [0, 1]."""
        plan = plan_for(
            prompt, seed=seed, **{"steps": self.steps, "rendered": self.size, "delivered": self.size, **changes}
        )
        return video_of(rendered(self.engine, plan, conditions))

    def truth(self, one: Clip, frames: int = SECONDS * FPS) -> Tensor:
        """The renderer's own clip: video_TCHW."""
        return draw([one], seconds(frames, FPS), self.size.height, self.size.width)[0][0]


def video_of(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """Bytes -> video_TCHW in [0, 1]."""
    return torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 255


def bytes_of(video_TCHW: Tensor) -> NDArray[np.uint8]:
    """video_TCHW in [0, 1] -> frames_THWC."""
    return (video_TCHW.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def footage(video_TCHW: Tensor, folder: Path, name: str = "source") -> Footage:
    """A clip as an MP4 in a folder of its own name, as a user would send it."""
    frames_THWC = bytes_of(video_TCHW)
    size = Size(frames_THWC.shape[2], frames_THWC.shape[1])
    plan = plan_for("", seconds=len(frames_THWC) // FPS, rendered=size, delivered=size, fps=FPS)
    (folder / name).mkdir()
    return Footage(encode([frames_THWC[: plan.rendered_frames]], plan, folder / name, lambda _done, _total: None).video)


def decibels(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio."""
    return -10 * torch.log10((a - b).square().mean() + 1e-6).item()
