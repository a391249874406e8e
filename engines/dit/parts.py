"""A plan cut into the parts that are drawn one after the other: shots, each with its words and its pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from domain.video import Plan
from engines.dit.camera import Way
from engines.protocol import Conditions

Picture = NDArray[np.uint8]  # HWC

MOST_SHOTS = 20  # of a prompt that lists them
NUMBERED = re.compile(r"(?:^|(?<=[\s.,;(]))(?:shot|scene)\s*\d{1,2}\s*[:.)\u2013\u2014-]\s*", re.IGNORECASE)
CUT = re.compile(  # behind a stop or a joining word, so that a "hair cut to the shoulders" is none
    r"(?:^|[,.;:!?\u2013\u2014\n-]|\s(?:and|then))\s{0,4}(?:(?:and|then)\s{1,4}){0,2}cuts? to\b[\s:,]*", re.IGNORECASE
)
NAMED = {  # each style by its name, and by what else it is called
    "noir": re.compile(r"\b(?:noir|black[- ]and[- ]white|monochrome)\b", re.IGNORECASE),
    "cartoon": re.compile(r"\b(?:cartoon|comic)s?\b", re.IGNORECASE),
    "sketch": re.compile(r"\bsketch(?:es)?\b|\b(?:pencil|hand)[- ]dr(?:awn|awing)|\bdrawn in pencil\b", re.IGNORECASE),
    "cinematic": re.compile(r"\bcinematic\b|\bmovie scene\b", re.IGNORECASE),
}
MOVES = r"\b(?:camera|view)\s+(?:\w+\s+){0,2}?(?:moves?|moving|glides?|slides?|tracks?|pushes|pulls|dollies)\s+"
TO = r"(?:(?:\w+ly|to|towards|the)\s+){0,3}"
PANS = {
    way: re.compile(rf"\bpan(?:s|ning)?\s+{TO}{side}\b|{MOVES}{TO}{side}\b", re.IGNORECASE)
    for way, side in ((-1.0, "left(?:wards)?"), (1.0, "right(?:wards)?"))
}
ZOOMS = {
    1.0: re.compile(rf"\bzoom(?:s|ing)?\s+(?:\w+ly\s+)?in\b|{MOVES}(?:in\b|closer|nearer)", re.IGNORECASE),
    -1.0: re.compile(rf"\bzoom(?:s|ing)?\s+(?:\w+ly\s+)?out\b|{MOVES}(?:out\b|away|back)", re.IGNORECASE),
}
USUAL = 0.75  # of the fastest move in training


@dataclass(frozen=True, slots=True)
class Part:
    """`frames` frames without a cut, the first of which is frame `begin` of the clip. `pictures` by its own frames."""

    prompt: str
    begin: int
    frames: int
    pictures: Mapping[int, Picture]


def cut(plan: Plan, conditions: Conditions) -> tuple[Part, ...]:
    """Every part, in order; one for a plan without shots whose prompt tells of no cuts."""
    told = [(f"{shot.prompt}, {plan.prompt}", shot.seconds * plan.rendered_fps) for shot in plan.shots]
    if not told and plan.source_clip is None and conditions.source is None:
        told = _listed(plan)
    told = told or [(plan.prompt, plan.rendered_frames)]
    begins = list(accumulate((frames for _, frames in told), initial=0))
    given = pictures(plan, conditions, begins[:-1])
    return tuple(
        Part(
            worded(prompt, plan.style),
            begin,
            end - begin,
            {frame - begin: picture_HWC for frame, picture_HWC in given.items() if begin <= frame < end},
        )
        for (prompt, _), (begin, end) in zip(told, pairwise(begins), strict=True)
    )


def pictures(plan: Plan, conditions: Conditions, begins: list[int]) -> dict[int, Picture]:
    """Which frames of the clip are given: openings of shots, keyframes, the first and the last one."""
    last = plan.rendered_frames - 1
    given = {at: each for at, each in zip(begins, conditions.references, strict=False) if each is not None}
    given |= {min(last, round(second * plan.rendered_fps)): each for second, each in conditions.keyframes}
    if conditions.first_frame_HWC is not None:
        given[0] = conditions.first_frame_HWC
    if conditions.last_frame_HWC is not None:
        given[last] = conditions.last_frame_HWC
    return given


def _listed(plan: Plan) -> list[tuple[str, int]]:
    """Shots that a prompt lists itself ("shot 1: ...", "... cut to ..."), equally long; none if it does not."""
    prompts = listed(plan.prompt)
    if not 2 <= len(prompts) <= min(MOST_SHOTS, plan.seconds):
        return []
    edges = [number * plan.rendered_frames // len(prompts) for number in range(len(prompts) + 1)]
    return [(prompt, end - begin) for prompt, (begin, end) in zip(prompts, pairwise(edges), strict=True)]


def listed(prompt: str) -> list[str]:
    """The prompts of the shots that a prompt lists; what stands before "shot 1:" belongs to each."""
    common, *numbered = NUMBERED.split(prompt)
    if len(numbered) > 1:
        shared = common.strip(" ,.;:\n")
        return [f"{text}, {shared}" if shared else text for text in (each.strip(" ,.;\n") for each in numbered) if text]
    return [text for text in (each.strip(" ,.;\u2013\u2014\n-") for each in CUT.split(prompt)) if text]


def worded(prompt: str, style: str) -> str:
    """The prompt with the style behind it, unless it says so already."""
    return f"{prompt}, {style}" if style and style.lower() not in prompt.lower() else prompt


def style_of(prompt: str) -> str:
    """The style that the model has a number for and the prompt names; empty if there is none."""
    return next((style for style, said in NAMED.items() if said.search(prompt)), "")


def camera_of(prompt: str) -> Way:
    """How the camera moves in a prompt, at a usual speed: pan to the right, zoom in."""
    pan, zoom = (usual(ways, prompt) for ways in (PANS, ZOOMS))
    return pan, zoom


def usual(ways: Mapping[float, re.Pattern[str]], prompt: str) -> float:
    """The first way that the prompt names; 0 for none."""
    return next((USUAL * way for way, said in ways.items() if said.search(prompt)), 0.0)
