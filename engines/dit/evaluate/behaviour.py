"""How the model behaves whatever it draws: motion intensity, repeatability, seconds and bytes."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from domain.video import Shot
from engines.dit.checkers import amount
from engines.dit.data import Clip
from engines.dit.engine import DitEngine
from engines.dit.evaluate.asking import FPS, NOTHING, Exam, plan_for, rendered
from engines.dit.evaluate.given import plain_clips
from engines.dit.evaluate.measure import Measure

INTENSITIES = (0.2, 0.5, 0.8)
FASTEST = 3.0  # scene seconds per clip second at intensity 1
SHOTS = (
    "a beautiful sunset over a mountain lake, with trees swaying in the wind",
    "a futuristic city at night, with flying cars between neon-lit skyscrapers",
    "a serene mountain lake at sunrise, with mist rising from the water",
    "an astronaut floating in space, Earth visible in the background, stars twinkling",
)
MINUTE = 60


def motion(exam: Exam) -> list[Measure]:
    """Whether clips move strictly more with every step of the intensity."""
    clips = plain_clips(exam.some(12), skip=1300)
    asked = ((seed, one, each) for seed, one in enumerate(clips) for each in INTENSITIES)
    made = [amount(exam.make(one.caption, seed=seed, motion_intensity=each)) for seed, one, each in asked]
    real = [amount(exam.truth(paced(one, each))) for one in clips for each in INTENSITIES]
    what = f"motion rises strictly at intensities {INTENSITIES}"
    return [Measure(what, rising(made), clips=len(clips), bar=0.9, ceiling=rising(real), chance=1 / 6)]


def rising(amounts: Sequence[float]) -> float:
    """Of the clips, each with an amount for every intensity in order, the share that rises strictly."""
    told = list(zip(*[iter(amounts)] * len(INTENSITIES), strict=True))
    return sum(all(a < b for a, b in pairwise(each)) for each in told) / len(told)


def paced(one: Clip, intensity: float) -> Clip:
    """The clip at the tempo that an intensity stands for."""
    pace = FASTEST ** (2 * intensity - 1)
    return replace(one, values={**one.values, "pace": pace}, pace=pace)


def repeatable(exam: Exam) -> list[Measure]:
    """Same plan, same bytes."""
    plans = [
        plan_for(prompt, seed=seed, steps=exam.steps, rendered=exam.size)
        for seed, prompt in enumerate(SHOTS[: exam.some(3)])
    ]
    same = [bool((rendered(exam.engine, plan) == rendered(exam.engine, plan)).all()) for plan in plans]
    return [Measure("same plan, same bytes", sum(same) / len(same), clips=len(same), bar=1.0)]


def speed(weights: Path, steps: int) -> list[Measure]:
    """Wall seconds of short and long clips, and how memory grows with length; in a process that did nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        told = pool.apply(timed, (weights, steps, torch.get_num_threads()))
    threads = f"{torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "one thread"
    return [
        Measure(f"a 4 s clip of {4 * FPS} drawn frames, {threads}", told["4"], "s", bar=6, at_most=True),
        Measure(f"a {MINUTE} s clip with four shots, {threads}", told["60"], "s", bar=120, at_most=True),
        Measure("peak memory of the process, 12 s clip", told["megabytes 12"], "MB"),
        Measure(
            f"growth of that peak from 12 s to {MINUTE} s",
            told["megabytes 60"] - told["megabytes 12"],
            "MB",
            bar=60,
            at_most=True,
        ),
    ]


def timed(weights: Path, steps: int, threads: int) -> dict[str, float]:
    """Seconds by the length of the clip, and peaks of resident memory. Frames are dropped as they come."""
    torch.set_num_threads(threads)
    engine = DitEngine.load(weights)
    told: dict[str, float] = {}
    consume(engine, 4, steps)  # the first render of a process also loads kernels
    told["4"] = consume(engine, 4, steps)
    consume(engine, 12, steps)
    told["megabytes 12"] = peak_megabytes()
    told["60"] = consume(engine, MINUTE, steps)
    told["megabytes 60"] = peak_megabytes()
    return told


def consume(engine: DitEngine, length: int, steps: int) -> float:
    """Seconds to render a clip; a minute has four shots."""
    shots = tuple(Shot(prompt, length // len(SHOTS)) for prompt in SHOTS) if length == MINUTE else ()
    began = time.monotonic()
    for _ in engine.render(plan_for(SHOTS[0], steps=steps, seconds=length, shots=shots), NOTHING, lambda _: None):
        pass
    return time.monotonic() - began


def peak_megabytes() -> float:
    """The most resident memory that this process ever had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
