"""A plan in the words of a far end: the fields and files of its create request."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domain.upstream import Dialect, FarEnd
from domain.video import Operation, Plan, Size
from engines.images import encode_png
from engines.protocol import Conditions


@dataclass(frozen=True, slots=True)
class Wanted:
    """One create. `fields` hold plain JSON values, `files` PNG pictures by the name of their field."""

    fields: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    as_json: bool = False  # the body is one JSON object, not a form
    path: str = "/videos"
    clip: IO[bytes] | None = None  # an MP4, sent as `video`

    @property
    def form(self) -> dict[str, str]:
        """The fields as texts of a form: what is not plain is JSON."""
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.fields.items()}


def wanted(plan: Plan, conditions: Conditions, far_end: FarEnd, ticket: str, clip: IO[bytes] | None = None) -> Wanted:
    """What to ask for; `clip` is the plan's source as it is to be sent.

    Pictures are brought to the size that is drawn; what the operator adds never wins over ours.
    """
    match far_end.dialect:
        case Dialect.OPENAI:
            asked = Wanted(_openai(plan), _reference(plan, conditions))
        case Dialect.VLLM_OMNI:
            asked = Wanted(_vllm_omni(plan, far_end) | {"user": ticket}, _reference(plan, conditions))
        case Dialect.SGLANG:
            asked = _sglang(plan, far_end, _reference(plan, conditions))
        case Dialect.KINEMA:
            asked = _kinema(plan, conditions, far_end, ticket, clip)
    model = {"model": far_end.model} if far_end.model else {}
    return replace(asked, fields={**far_end.fields, **model, **asked.fields})


def _openai(plan: Plan) -> dict[str, Any]:
    return {"prompt": plan.prompt, "size": str(plan.rendered), "seconds": str(plan.seconds)}


def _drawing(plan: Plan, far_end: FarEnd) -> dict[str, Any]:
    """What vLLM-Omni and SGLang Diffusion have in common; without `num_frames` the former draws a single one."""
    negative = {"negative_prompt": plan.negative_prompt} if plan.negative_prompt else {}
    return {
        "prompt": plan.prompt,
        "num_frames": far_end.frames(plan.rendered_frames),
        "fps": plan.rendered_fps,
        "num_inference_steps": plan.steps,
        "guidance_scale": plan.guidance,
        "seed": plan.seed,
        **negative,
    }


def _vllm_omni(plan: Plan, far_end: FarEnd) -> dict[str, Any]:
    return {**_drawing(plan, far_end), "width": plan.rendered.width, "height": plan.rendered.height}


def _sglang(plan: Plan, far_end: FarEnd, files: dict[str, bytes]) -> Wanted:
    """JSON, because a form of SGLang must hold a picture; a form reads most of its extensions from `extra_body`."""
    drawing = _drawing(plan, far_end)
    size = {"size": str(plan.rendered), "seconds": plan.seconds}
    if not files:
        return Wanted({**drawing, **size}, as_json=True)
    return Wanted({**drawing, **size, "extra_body": drawing}, files)


def _kinema(plan: Plan, conditions: Conditions, far_end: FarEnd, ticket: str, clip: IO[bytes] | None) -> Wanted:
    """A create, or where there is a clip an edit or an extension, which take their shape from it."""
    rate: dict[str, Any] = {"fps": plan.rendered_fps} if "fps" in far_end.capabilities else {}
    if clip is None:
        path, shape = "/videos", {"size": str(plan.rendered), "seconds": str(plan.seconds), **rate}
    elif plan.operation is Operation.EXTEND:
        path, shape = "/videos/extensions", {"seconds": str(plan.seconds)}
    else:
        path, shape = "/videos/edits", rate
    return Wanted(
        _drawing_of_kinema(plan, conditions, ticket) | shape, _pictures(plan, conditions), path=path, clip=clip
    )


def _drawing_of_kinema(plan: Plan, conditions: Conditions, ticket: str) -> dict[str, Any]:
    optional = {
        "strength": plan.strength,
        "negative_prompt": plan.negative_prompt,
        "style": plan.style,
        "motion_intensity": plan.motion_intensity,
        "keyframes": [_keyframe(plan, second, picture_HWC) for second, picture_HWC in conditions.keyframes],
        "shots": _shots(plan, conditions),
        "loras": [{"name": lora.name, "weight": lora.weight} for lora in plan.loras],
    }
    return {
        "prompt": plan.prompt,
        "steps": plan.steps,
        "guidance": plan.guidance,
        "seed": plan.seed,
        "metadata": {"upstream_ticket": ticket},
        **{name: value for name, value in optional.items() if value not in (None, "", [])},
    }


def _keyframe(plan: Plan, second: float, picture_HWC: NDArray[np.uint8]) -> dict[str, Any]:
    return {"second": second, "image": {"image_url": _data_url(_png(picture_HWC, plan.rendered))}}


def _shots(plan: Plan, conditions: Conditions) -> list[dict[str, Any]]:
    references = conditions.references or (None,) * len(plan.shots)
    return [
        {"prompt": shot.prompt, "seconds": shot.seconds}
        | ({} if each is None else {"reference": {"image_url": _data_url(_png(each, plan.rendered))}})
        for shot, each in zip(plan.shots, references, strict=True)
    ]


def _reference(plan: Plan, conditions: Conditions) -> dict[str, bytes]:
    first_HWC = conditions.first_frame_HWC
    return {} if first_HWC is None else {"input_reference": _png(first_HWC, plan.rendered)}


def _pictures(plan: Plan, conditions: Conditions) -> dict[str, bytes]:
    last_HWC, mask_HW = conditions.last_frame_HWC, conditions.mask_HW
    last = {} if last_HWC is None else {"last_frame": _png(last_HWC, plan.rendered)}
    mask = {} if mask_HW is None else {"mask": _png(np.stack([mask_HW] * 3, axis=2), plan.rendered)}
    return _reference(plan, conditions) | last | mask


def _png(picture_HWC: NDArray[np.uint8], size: Size) -> bytes:
    """The picture at the size that is drawn; far ends refuse any other."""
    if picture_HWC.shape[:2] == (size.height, size.width):
        return encode_png(picture_HWC)
    target = io.BytesIO()
    Image.fromarray(picture_HWC).resize((size.width, size.height), Image.Resampling.LANCZOS).save(target, "PNG")
    return target.getvalue()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
