"""Train the denoiser: a pool of encoded clips for each kind of window, a mask for each task, captions with slips.

Rendering and encoding a clip costs about as much as learning from it once, so clips are kept in a pool and used a few
times, each time with another caption slip, mask and noise. Legend: as in `conditioning` and `model`.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from engines.dit import flow
from engines.dit.camera import views
from engines.dit.codec import Codec
from engines.dit.conditioning import PACE, Window, controls, moment
from engines.dit.config import TextConfig
from engines.dit.data import HELD_OUT, Clip, clip, draw, seconds, textures
from engines.dit.data.canvas import Canvas
from engines.dit.data.director import STILL
from engines.dit.lessons import Lesson
from engines.dit.model import Transformer
from engines.dit.text import Vocabulary
from engines.dit.windows import Stretch, longest

POOL = 2000  # clips of one kind
OBJECT = 4.0  # extra weight of the object that matters
HUSH = 0.4  # share of the clips whose motion intensity is not told by number, and of styles
UNSAID = 0.1  # the same of camera moves
PHOTOGRAPH = "photograph"  # the family of what is no scene
WORN = 0.1  # most noise on what a window goes on with: own results are not perfect
PHOTOGRAPHS = 0.12  # share of what is rendered from a clip's start that only shows what a user's first frame may be
LONE = 0.05  # share of lone shapes on top of those of the world: outlines are learned last
PLAIN = 0.2  # share of the scenes without a style and a camera's move that are kept
AHEAD = 0.3  # share of what goes on that is told where to
FARTHEST = 16  # latent frames between a window and the reference picture before it


@dataclass(frozen=True, slots=True)
class Example:
    """One encoded clip, or part of one. `known` marks latent frames that are always given: references, keyframes."""

    latents_LZhw: Tensor  # bfloat16
    weights_Lhw: Tensor  # bfloat16, the loss weight
    at_L: Tensor
    still_L: Tensor
    known_L: Tensor
    seconds_L: Tensor  # when the middle of each latent frame is shown
    clip: Clip


@dataclass(slots=True)
class Pool:
    """Examples of one lesson; the oldest one leaves a full pool."""

    examples: list[Example]
    turn: int = 0

    def add(self, example: Example) -> None:
        """Keep an example."""
        if len(self.examples) < POOL:
            self.examples.append(example)
            return
        self.examples[self.turn] = example
        self.turn = (self.turn + 1) % POOL


@torch.no_grad()
def fill(pool: Pool, codec: Codec, lesson: Lesson, count: int, rng: Random) -> None:
    """Render and encode `count` new clips."""
    if lesson.kind == "start" and lesson.window > 1 and rng.random() < PHOTOGRAPHS:
        words, seed = ("a photograph", "a photo", "a picture", ""), float(rng.randrange(2**31))
        clips = [Clip(PHOTOGRAPH, {"seed": seed}, rng.choice(words)) for _ in range(count)]
    else:
        clips = [chosen(rng) for _ in range(count)]
    parts = {"start": _start, "later": _later, "keyed": _keyed, "between": _keyed, "anchors": _anchors}[lesson.kind]
    latents, weights, at_L, still_L, known_L, seconds_L = parts(clips, codec, lesson, rng)
    for index, one in enumerate(clips):
        example = latents[index].bfloat16(), weights[index].bfloat16(), at_L, still_L, known_L, seconds_L, one
        pool.add(Example(*example))


def chosen(rng: Random) -> Clip:
    """A clip to learn from: lone shapes more often than in the world, plain scenes less, as those are learned first."""
    family = "shapes" if rng.random() < LONE else None
    while True:
        one = clip(HELD_OUT + rng.randrange(2**40), family)
        if one.family == "shapes" or one.style or one.camera != STILL or rng.random() < PLAIN:
            return one
        family = one.family


Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _start(clips: Sequence[Clip], codec: Codec, lesson: Lesson, _rng: Random) -> Parts:
    """A clip from its beginning."""
    latents, weights = encoded(clips, codec, seconds(1 + PACE * (lesson.window - 1), lesson.fps), lesson)
    at_L = torch.arange(lesson.window).float()
    return latents, weights, at_L, (at_L == 0).float(), 0 * at_L, middles(lesson.window, lesson.fps)


def _later(clips: Sequence[Clip], codec: Codec, lesson: Lesson, rng: Random) -> Parts:
    """A clip that goes on, and behind it a picture of an earlier moment, or of one that it is to reach."""
    length, begin = lesson.window - 1, rng.uniform(0, 40)
    past = min(rng.uniform(0, FARTHEST), begin * lesson.fps / PACE)  # latent frames before the window's first
    frame, there = -past * PACE, -past
    if rng.random() < AHEAD:
        frame = PACE * length if rng.random() < 0.6 else rng.randrange(2 * PACE, PACE * length + 1)
        there = moment(frame)
    latents, weights = encoded(clips, codec, seconds(1 + PACE * length, lesson.fps, begin), lesson)
    picture, nothing = encoded(clips, codec, torch.tensor([begin + frame / lesson.fps]), lesson)
    at_L = torch.cat([torch.arange(1, length + 1).float(), torch.tensor([there])])
    last = functional.one_hot(torch.tensor(length), length + 1).float()
    latents, weights = torch.cat([latents[:, 1:], picture], 1), torch.cat([weights[:, 1:], nothing], 1)
    seconds_L = begin + torch.cat([middles(length + 1, lesson.fps)[1:], torch.tensor([frame / lesson.fps])])
    return latents, weights, at_L, last, last, seconds_L


def _keyed(clips: Sequence[Clip], codec: Codec, lesson: Lesson, rng: Random) -> Parts:
    """A clip from its beginning, and behind it a picture of a moment in it, mostly of its end, or one of each."""
    length = lesson.window
    times_T = seconds(2 + PACE * (length - 1), lesson.fps)
    last, inner = len(times_T) - 1, rng.randrange(1, len(times_T) - 1)
    frames = [inner, last] if lesson.kind == "between" else [last if rng.random() < 0.6 else inner]
    latents, weights = encoded(clips, codec, times_T[:-1], lesson)
    pictures, nothing = zip(
        *(encoded(clips, codec, times_T[frame : frame + 1], lesson) for frame in frames), strict=True
    )
    at_L = torch.cat([torch.arange(length).float(), torch.tensor([moment(frame) for frame in frames])])
    known_L = (torch.arange(len(at_L)) >= length).float()
    still_L = known_L + functional.one_hot(torch.tensor(0), len(at_L))
    seconds_L = torch.cat([middles(length, lesson.fps), torch.tensor(frames) / lesson.fps])
    return torch.cat([latents, *pictures], 1), torch.cat([weights, *nothing], 1), at_L, still_L, known_L, seconds_L


def _anchors(clips: Sequence[Clip], codec: Codec, lesson: Lesson, rng: Random) -> Parts:
    """Pictures that are far apart in time, as the frame of a long clip."""
    begin = rng.choice((0.0, rng.uniform(0, 30)))
    times_T = begin + torch.arange(lesson.window) / lesson.fps
    pictures, weights = zip(*(encoded(clips, codec, time[None], lesson) for time in times_T), strict=True)
    at_L = torch.arange(lesson.window) * lesson.apart
    return torch.cat(pictures, 1), torch.cat(weights, 1), at_L, torch.ones_like(at_L), 0 * at_L, times_T


def middles(length: int, fps: float) -> Tensor:
    """When the middle of each latent frame of a clip from its beginning is shown, in seconds."""
    stretch = Stretch(longest(length))
    return torch.tensor([stretch.middle(latent) for latent in range(length)]) / fps


def encoded(clips: Sequence[Clip], codec: Codec, times_T: Tensor, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Clips at 1 + 4k moments as latents_BLZhw, and the weight of each latent position in the loss, [B,L,h,w]."""
    video_BTCHW, mask_BTHW = filmed(clips, times_T, lesson, codec.mean.device)
    with torch.autocast(video_BTCHW.device.type, torch.bfloat16):
        latents_BLZhw = codec.encode(video_BTCHW)
    groups = torch.cat([mask_BTHW[:, :1].expand(-1, PACE - 1, -1, -1), mask_BTHW], 1)
    return latents_BLZhw, 1 + OBJECT * functional.avg_pool3d(groups, (PACE, 8, 8)).sqrt()


def filmed(clips: Sequence[Clip], times_T: Tensor, lesson: Lesson, device: torch.device) -> tuple[Tensor, Tensor]:
    """Clips of one kind, and what matters in them: the world's, or pictures of anything that a camera drifts over."""
    if clips[0].family != PHOTOGRAPH:
        return draw(clips, times_T, *lesson.size, device=device)
    generator = torch.Generator(device).manual_seed(int(clips[0].values["seed"]))  # pyright: ignore[reportArgumentType] - a number
    board = Canvas.at(times_T, *lesson.size, device)
    video_BTCHW = textures.render(board, len(clips), generator).clamp(0, 1)
    return video_BTCHW, torch.zeros_like(video_BTCHW[:, :, 0])


def slip(words: Sequence[str], rng: Random) -> list[str]:
    """A caption as it may be mistyped: nothing at all (for guidance), lost words, words nobody knows."""
    if rng.random() < 0.1:
        return []
    if rng.random() < 0.5:
        return list(words)
    kept = [word for word in words if rng.random() > 0.06]
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [word if rng.random() > 0.05 else "".join(rng.choices(letters, k=rng.randint(3, 9))) for word in kept]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    clean_BLZhw: Tensor
    weight_BL1hw: Tensor
    window: Window  # `known` holds the clean latents everywhere; `mask` says which are given
    worn_B: Tensor  # deviation of the noise on what is given
    rows_BNG: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device."""
        return Batch(
            self.clean_BLZhw.to(device),
            self.weight_BL1hw.to(device),
            self.window.to(device),
            self.worn_B.to(device),
            self.rows_BNG.to(device),
        )


def batch_of(pool: Pool, vocabulary: Vocabulary, lesson: Lesson, rng: Random) -> Batch:
    """Draw examples, and for each what is known of it."""
    drawn = [rng.choice(pool.examples) for _ in range(lesson.rows)]
    clean = torch.stack([each.latents_LZhw.cpu() for each in drawn]).float()
    mask = torch.stack([_given(each, lesson, rng, clean.shape[-2:]) for each in drawn])
    window = Window(
        clean,
        mask,
        torch.stack([each.at_L for each in drawn]),
        torch.stack([each.still_L for each in drawn]),
        *(torch.stack(told) for told in zip(*(_told(each, lesson, rng) for each in drawn), strict=True)),
    )
    worn_B = torch.tensor([WORN * rng.random() * (lesson.kind == "later") for _ in drawn])
    weight = torch.stack([each.weights_Lhw.cpu() for each in drawn]).float()
    return Batch(
        clean, weight.unsqueeze(2), window, worn_B, rows_of([each.clip.caption for each in drawn], vocabulary, rng)
    )


def rows_of(captions: Sequence[str], vocabulary: Vocabulary, rng: Random) -> Tensor:
    """Captions with slips as rows_BNG, all of one length: programs are compiled for shapes."""
    rows_BNG = vocabulary.encode([slip(vocabulary.split(caption), rng) for caption in captions])
    return functional.pad(rows_BNG, (0, 0, 0, vocabulary.config.length - rows_BNG.shape[1]))


def _told(each: Example, lesson: Lesson, rng: Random) -> tuple[Tensor, Tensor]:
    """The numbers that steer and view_LV."""
    motion = None if rng.random() < HUSH else each.clip.motion
    style = "" if rng.random() < HUSH else each.clip.style
    way = STILL.way if rng.random() < UNSAID else each.clip.camera.way
    half_width = lesson.size[1] / min(lesson.size) / 2
    return controls(lesson.fps, motion, style, way), views(way, each.seconds_L, half_width)


def _given(each: Example, lesson: Lesson, rng: Random, size: Sequence[int]) -> Tensor:
    """mask_Lhw: what the model is given of an example."""
    mask = each.known_L[:, None, None].expand(-1, *size).clone()
    length, chance = len(mask), rng.random()
    if each.clip.family == PHOTOGRAPH:  # nothing tells what it shows but a picture of it
        mask[: 1 if chance < 0.8 else max(1, length // 3)] = 1
        return mask
    match lesson.kind:
        case "start" if chance < 0.08:
            return _region(mask, rng)
        case "start" if length > 1 and chance < 0.24:
            mask[:1] = 1
        case "start" if length > 1 and chance < 0.32:
            mask[: rng.randint(1, max(1, length // 3))] = 1
        case "later":
            mask[: rng.choice((1, 1, 2))] = 1
        case "keyed" | "between" if chance < 0.65:
            mask[:1] = 1
        case "anchors" if chance < 0.3:
            mask[:1] = 1
        case "anchors" if chance < 0.45:
            mask[rng.randrange(length)] = 1
    return mask


def _region(mask_Lhw: Tensor, rng: Random) -> Tensor:
    """All but a rectangle is known, in every latent frame; in steps of the transformer's patches."""
    rows, columns = mask_Lhw.shape[1] // 2, mask_Lhw.shape[2] // 2
    tall, wide = rng.randint(max(1, rows // 3), rows), rng.randint(max(1, columns // 3), columns)
    top, left = 2 * rng.randint(0, rows - tall), 2 * rng.randint(0, columns - wide)
    mask_Lhw[:] = 1
    mask_Lhw[:, top : top + 2 * tall, left : left + 2 * wide] = 0
    return mask_Lhw


def loss_of(model: Transformer, batch: Batch, generator: torch.Generator) -> Tensor:
    """Velocity loss of the latents that are not known."""
    clean, device = batch.clean_BLZhw, batch.clean_BLZhw.device
    mask_BL1hw = batch.window.mask_BLhw.unsqueeze(2)
    time_B = flow.draw_times(len(clean), clean[0, :, 0].numel() // 4, generator).to(device)
    noise, wear = (torch.randn(clean.shape, generator=generator).to(device) for _ in range(2))
    times = time_B[:, None, None, None, None]
    noisy = times * clean + (1 - times) * noise
    known = mask_BL1hw * (clean + batch.worn_B[:, None, None, None, None] * wear)
    given = replace(batch.window, known_BLZhw=known)
    with torch.autocast(device.type, torch.bfloat16):
        guess = model(noisy, given, time_B, model.text(batch.rows_BNG))
    return flow.loss_of(clean, guess, time_B, batch.weight_BL1hw * (1 - mask_BL1hw))


def words_of_grammar(config: TextConfig, captions: int = 20_000) -> list[str]:
    """The vocabulary: every word that the captions use."""
    split = Vocabulary((), config).split
    return sorted({word for seed in range(captions) for word in split(clip(HELD_OUT + seed).caption)})
