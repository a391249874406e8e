"""What each family of pipelines can do and how it wants to be asked.

Nearly everything follows from the parameters of a pipeline's call; the tables hold what does not.
"""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.diffusers.library import DiffusionPipeline


class Task(StrEnum):
    """What a clip is drawn from, beside its prompt."""

    TEXT = "text"
    IMAGE = "image"  # a first frame, and a last one where the pipeline takes it
    FRAMES = "frames"  # frames at any place
    VIDEO = "video"  # a clip that is repainted


@dataclass(frozen=True, slots=True)
class Share:
    """A pipeline that runs on another one's weights, for a task that the other one cannot do."""

    source: str
    task: Task
    target: str
    config: str = ""  # only if this entry of the source's configuration is set (or, after a "!", is not)


SHARES = (
    # Two experts or a time for each token are more than the video pipeline of this version knows.
    Share("WanPipeline", Task.VIDEO, "WanVideoToVideoPipeline", "!boundary_ratio !expand_timesteps"),
    Share("WanPipeline", Task.IMAGE, "WanImageToVideoPipeline", "expand_timesteps"),
    Share("LTXPipeline", Task.IMAGE, "LTXImageToVideoPipeline"),
    Share("LTXPipeline", Task.FRAMES, "LTXConditionPipeline"),
    Share("LTXImageToVideoPipeline", Task.TEXT, "LTXPipeline"),
    Share("LTXImageToVideoPipeline", Task.FRAMES, "LTXConditionPipeline"),
    Share("CogVideoXPipeline", Task.VIDEO, "CogVideoXVideoToVideoPipeline"),
)
# Pipelines that decode once, at their end, with an autoencoder that `streaming` knows piece by piece.
STREAMED = frozenset(
    {
        "WanPipeline",
        "WanImageToVideoPipeline",
        "WanVideoToVideoPipeline",
        "WanVACEPipeline",
        "LucyEditPipeline",
        "SkyReelsV2Pipeline",
        "SkyReelsV2ImageToVideoPipeline",
        "CogVideoXPipeline",
        "CogVideoXImageToVideoPipeline",
        "CogVideoXVideoToVideoPipeline",
    }
)
FRAMES = ("num_frames", "frames", "video_length")  # names of the same parameter
RATES = ("frame_rate", "fps")
SPATIAL = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor")
TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")


@dataclass(frozen=True, slots=True)
class Grid:
    """Sizes and lengths that a pipeline draws: multiples of `side` pixels, `1 + n * frames` frames."""

    side: int
    frames: int

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """The least size that holds this one."""
        return -(-width // self.side) * self.side, -(-height // self.side) * self.side

    def length(self, frames: int) -> int:
        """The least number of frames, at least two latent ones, that holds these."""
        return 1 + max(1, -(-(frames - 1) // self.frames)) * self.frames


@dataclass(frozen=True, slots=True)
class Outline:
    """A pipeline as far as its class and its configurations tell; these are there before its weights are."""

    kind: type[DiffusionPipeline]
    config: Mapping[str, Any]
    network: Mapping[str, Any]  # its transformer's configuration; empty if it has none

    @classmethod
    def of(cls, pipeline: DiffusionPipeline) -> Outline:
        """Of one that was loaded."""
        network = getattr(pipeline, "transformer", None)
        return cls(type(pipeline), dict(pipeline.config), dict(network.config) if network is not None else {})


def parameters(pipeline: DiffusionPipeline | type[DiffusionPipeline]) -> dict[str, inspect.Parameter]:
    """Of the pipeline's call."""
    kind = pipeline if isinstance(pipeline, type) else type(pipeline)
    return dict(inspect.signature(kind.__call__).parameters)


def own_tasks(outline: Outline) -> set[Task]:
    """What the pipeline's own call can do."""
    known = parameters(outline.kind)
    needs = {name for name, each in known.items() if each.default is inspect.Parameter.empty and name != "self"}
    # Of Wan and LTX every picture is optional by signature; what the network was trained for is in its name.
    name = outline.kind.__name__
    tasks = {Task.TEXT} if "prompt" in known and not needs & {"image", "video"} else set()
    if "image" in known:
        tasks |= {Task.IMAGE}
        tasks -= {Task.TEXT} if "ImageToVideo" in name or "Image2Video" in name else set()
    if "video" in known and "strength" in known and "conditions" not in known:
        tasks = {Task.VIDEO}
    if "conditions" in known and name.startswith("LTXCondition"):
        tasks |= {Task.FRAMES}
    return tasks


def shared_tasks(outline: Outline) -> dict[Task, str]:
    """Further tasks on the same weights, with the class that does each."""
    return {
        share.task: share.target
        for share in SHARES
        if share.source == outline.kind.__name__
        and all(bool(outline.config.get(key.lstrip("!"))) is not key.startswith("!") for key in share.config.split())
    }


def takes_last_image(outline: Outline) -> bool:
    """Whether a last frame may stand beside the first."""
    if "last_image" not in parameters(outline.kind):
        return False
    # Wan 2.1 looks at its pictures through an image encoder too, and only the variant for two pictures places both.
    blind = outline.network.get("image_dim") is None
    placed = outline.network.get("pos_embed_seq_len") is not None
    return not outline.config.get("expand_timesteps") and (blind or placed)


def needs_last_image(outline: Outline) -> bool:
    """Whether it was trained for two pictures only (Wan 2.1's first-and-last-frame variant)."""
    return takes_last_image(outline) and bool(outline.network.get("pos_embed_seq_len"))


def grid(pipeline: DiffusionPipeline) -> Grid:
    """From the autoencoder's factors and the transformer's patches."""
    network = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    patch: Any = getattr(getattr(network, "config", None), "patch_size", None) or 1
    side = patch[-1] if isinstance(patch, (list, tuple)) else int(patch)
    spatial = _first(pipeline, SPATIAL, 8)
    return Grid(max(2, int(spatial) * side), max(1, int(_first(pipeline, TEMPORAL, 1))))


def _first(pipeline: DiffusionPipeline, names: tuple[str, ...], otherwise: int) -> int:
    return next((value for name in names if (value := getattr(pipeline, name, None))), otherwise)
