"""Look at a checkpoint and measure it: `python -m engines.dit.evaluate sheet|score`.

`sheet` draws the contact sheet of the docs. `score` prints the table of the model card: what the judges say about
the model's clips, about the renderer's own clips (the ceiling) and about clips under another clip's caption (chance).
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from domain.video import Plan, Size
from engines.dit import checkpoint as checkpoints
from engines.dit.checkers import SceneJudge, background, motion, object_colour
from engines.dit.data import Clip, clip, draw, seconds
from engines.dit.data.shapes import MOTIONS
from engines.dit.data.words import COLOURS
from engines.dit.engine import DitEngine
from engines.protocol import Conditions

SHEET = Path("docs/img/dit-contact-sheet.png")
PROMPTS = (
    "a red ball rolls left",
    "a beautiful sunset over a mountain lake, with trees swaying in the wind",
    "a futuristic city at night, with flying cars between neon-lit skyscrapers",
    "a serene mountain lake at sunrise, with mist rising from the water",
    "an astronaut floating in space, Earth visible in the background, stars twinkling",
    "a green cube slides right on a white background",
    "sunset over the sea",
    "the moon over the ocean at night, a sailing boat",
    "snow falling over a forest",
    "a campfire burning in the woods at night",
    "a purple planet among the stars",
    "a blue ball bounces on yellow ground",
)
LANDSCAPE = Size(256, 144)
FPS = 6
FAMILIES = 84  # seeds of renderer clips that the scene judge knows


def plan_for(prompt: str, *, seed: int = 1, steps: int = 8, size: Size = LANDSCAPE, guidance: float = 2.0) -> Plan:
    """A four-second plan."""
    return Plan("kinema-dit", prompt, 4, size, FPS, size, 2 * FPS, seed, steps, guidance)


def frames_of(engine: DitEngine, plan: Plan, picture: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """All frames of a plan, frames_THWC."""
    return np.concatenate(list(engine.render(plan, Conditions(picture), lambda _: None)))


def sheet(engine: DitEngine, path: Path, steps: int, seed: int) -> None:
    """Twelve prompts, six frames each, with their prompts, in one picture of at most 600 kB."""
    across, wide, tall, label = 6, 160, 90, 14
    picture = Image.new("RGB", (across * wide * 2 + 8, (tall + label + 4) * len(PROMPTS) // 2), "white")
    pen = ImageDraw.Draw(picture)
    for index, prompt in enumerate(PROMPTS):
        began = time.monotonic()
        frames_THWC = frames_of(engine, plan_for(prompt, seed=seed, steps=steps))
        print(f"{time.monotonic() - began:5.1f} s  {prompt}", flush=True)
        left, top = index % 2 * (across * wide + 8), index // 2 * (tall + label + 4)
        pen.text((left + 2, top), prompt, fill="black")
        for place, number in enumerate(np.linspace(0, len(frames_THWC) - 1, across).round().astype(int)):
            small = Image.fromarray(frames_THWC[number]).resize((wide, tall), Image.Resampling.LANCZOS)
            picture.paste(small, (left + place * wide, top + label))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def shapes_prompts(count: int) -> list[Clip]:
    """Held-out clips of a shape before a plain background: every attribute is in the caption."""
    held_out = (clip(seed, "shapes") for seed in range(10_000))
    plain = (one for one in held_out if {"object", "background", "motion"} <= one.facts.keys() and not one.style)
    return [one for one, _ in zip(plain, range(count), strict=False)]


def said(one: Clip) -> dict[str, str]:
    """What the caption of a shape says."""
    names = {colour: name for name, colour in COLOURS.items()}
    return {
        "background": names[one.values["background"]],  # pyright: ignore[reportArgumentType]
        "object": names[one.values["colour"]],  # pyright: ignore[reportArgumentType]
        "motion": MOTIONS[int(one.values["motion"])],  # pyright: ignore[reportArgumentType]
    }


def seen(video_TCHW: Tensor) -> dict[str, str | None]:
    """What the judges see."""
    return {"background": background(video_TCHW), "object": object_colour(video_TCHW), "motion": motion(video_TCHW)}


def shares(captions: Sequence[dict[str, str]], sights: Sequence[dict[str, str | None]]) -> dict[str, float]:
    """Share of clips in which each attribute, and all of them, are as captioned."""
    right = [
        {name: sight[name] == caption[name] for name in caption}
        for caption, sight in zip(captions, sights, strict=True)
    ]
    table = {name: sum(row[name] for row in right) / len(right) for name in right[0]}
    return {**table, "all three": sum(all(row.values()) for row in right) / len(right)}


def render_all(engine: DitEngine, clips: Sequence[Clip], steps: int) -> Iterator[Tensor]:
    """The model's clips for the captions, video_TCHW each."""
    for seed, one in enumerate(clips):
        frames_THWC = frames_of(engine, plan_for(one.caption, seed=seed, steps=steps))
        yield torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 255


def score_shapes(engine: DitEngine, count: int, steps: int) -> dict[str, dict[str, float]]:
    """Attributes of moving shapes: model, ceiling, chance."""
    clips = shapes_prompts(count)
    captions = [said(one) for one in clips]
    real = [seen(draw([one], seconds(24, FPS), LANDSCAPE.height, LANDSCAPE.width)[0][0]) for one in clips]
    made = [seen(video) for video in render_all(engine, clips, steps)]
    turned = captions[1:] + captions[:1]
    return {"model": shares(captions, made), "ceiling": shares(captions, real), "chance": shares(turned, made)}


def score_scenes(engine: DitEngine, count: int, steps: int) -> dict[str, float]:
    """Whether a clip looks like the family of its caption: model, ceiling, chance."""
    judge = SceneJudge(range(2000, 2000 + 8 * FAMILIES), 72, 128)
    clips = [clip(seed) for seed in range(500, 500 + count)]
    families = [one.family for one in clips]
    real = [judge.family(draw([one], seconds(1, FPS), 72, 128)[0][0]) for one in clips]
    made = [judge.family(video) for video in render_all(engine, clips, steps)]
    turned = families[1:] + families[:1]

    def share(sights: list[str], wanted: list[str]) -> float:
        return sum(a == b for a, b in zip(sights, wanted, strict=True)) / count

    return {"model": share(made, families), "ceiling": share(real, families), "chance": share(made, turned)}


def score_first_frame(engine: DitEngine, count: int) -> dict[str, float]:
    """PSNR in dB of the first frame against the picture that was given, and of all frames of the true clip."""
    clips = [clip(seed) for seed in range(900, 900 + count)]
    first, rest, still = [], [], []
    for seed, one in enumerate(clips):
        video = draw([one], seconds(24, FPS), LANDSCAPE.height, LANDSCAPE.width)[0][0].permute(0, 2, 3, 1)
        picture = (video[0] * 255).round().byte().numpy()
        made = torch.from_numpy(frames_of(engine, plan_for(one.caption, seed=seed), picture)).float() / 255
        first.append(decibels(made[0], video[0]))
        rest.append(decibels(made[1:], video[1:]))
        still.append(decibels(video[:1].expand_as(video[1:]), video[1:]))
    names = ("first frame", "frames 2 to 24 against the true clip", "holding the first frame instead")
    return {name: sum(values) / count for name, values in zip(names, (first, rest, still), strict=True)}


def decibels(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio."""
    return -10 * torch.log10((a - b).square().mean() + 1e-6).item()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sheet", "score"))
    parser.add_argument("--weights", type=Path, default=checkpoints.WEIGHTS)
    parser.add_argument("--out", type=Path, default=SHEET)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=int, default=24)
    asked = parser.parse_args()
    engine = DitEngine.load(asked.weights)
    if asked.what == "sheet":
        sheet(engine, asked.out, asked.steps, asked.seed)
        return
    table = {
        "shapes": score_shapes(engine, asked.clips, asked.steps),
        "scenes": score_scenes(engine, asked.clips, asked.steps),
        "first frame, dB": score_first_frame(engine, max(2, asked.clips // 3)),
    }
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
