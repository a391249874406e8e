"""What the model makes of pictures and clips that it is given: first frame, keyframes, an extension, a source."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from domain.video import Keyframe, Operation, Size
from engines.dit.data import Clip, clip
from engines.dit.evaluate.asking import FPS, SECONDS, Exam, bytes_of, decibels, footage
from engines.dit.evaluate.measure import Measure
from engines.dit.evaluate.prompts import FIRST_SEED
from engines.dit.evaluate.strangers import picture
from engines.footage import Footage
from engines.protocol import Conditions

STRAIGHT = ("left", "right", "up", "down")
GIVEN = (0, 12, 23)  # frames of a clip to be filled
STRENGTHS = (0.3, 0.6, 0.9)


def plain_clips(count: int, skip: int = 0) -> list[Clip]:
    """Clips of all families without style, camera moves or tempo."""
    plain = (one for one in map(clip, range(FIRST_SEED + skip, FIRST_SEED * 2)) if not one.style and not one.unseen)
    return list(islice((one for one in plain if one.pace == 1 and "camera" not in (one.facts or {})), count))


def pictures(exam: Exam) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """Prompts with pictures_CHW: from the model's world, and arbitrary ones."""
    own = [(one.caption, exam.truth(one, 1)[0]) for one in plain_clips(exam.some(16))]
    return own, [("a photograph", picture(seed, exam.size)) for seed in range(exam.some(15))]


def first_frame(exam: Exam) -> list[Measure]:
    """The first frame of a clip against the picture that was given for it, and what comes right after it."""
    own, strange = pictures(exam)
    return [
        *kept(exam, "first frame, picture of its world", own, bar=30),
        *kept(exam, "first frame, arbitrary picture", strange, bar=26),
    ]


def kept(exam: Exam, what: str, given: list[tuple[str, Tensor]], bar: float) -> list[Measure]:
    """Mean PSNR of first frames; the median change after them, by the median change later on."""
    told, after = 0.0, []
    for seed, (prompt, each) in enumerate(given):
        made_TCHW = exam.make(prompt, seed=seed, seconds=1, conditions=Conditions(bytes_of(each[None])[0]))
        told += decibels(made_TCHW[0], each) / len(given)
        change = (made_TCHW[1:] - made_TCHW[:-1]).abs().mean((1, 2, 3))
        after.append((change[0] / (change[1:].median() + 1e-6)).item())
    return [
        Measure(what, told, "dB", len(given), bar=bar),
        Measure("· change right after it, in later changes", sorted(after)[len(after) // 2], "", len(given)),
    ]


def autoencoder(exam: Exam) -> list[Measure]:
    """What pictures and clips lose in the autoencoder alone; the engine gives back what it can."""
    codec = exam.engine._networks.codec  # noqa: SLF001  # the engine shows no latents
    clips = [exam.truth(one, 1 + SECONDS * FPS) for one in plain_clips(exam.some(12))]
    own, strange = ([each[None] for _, each in some] for some in pictures(exam))
    rows: list[Measure] = []
    kinds = (("clips of its world", clips, 31), ("pictures of its world", own, 30), ("arbitrary pictures", strange, 26))
    with torch.no_grad():
        for what, videos, bar in kinds:
            lost = [decibels(codec.decode(codec.encode(each[None]))[0], each) for each in videos]
            rows.append(Measure(f"autoencoder alone, {what}", sum(lost) / len(lost), "dB", len(lost), bar=bar))
    return rows


def straight_clips(count: int) -> list[Clip]:
    """Shapes that go straight on: what happens between two frames is no matter of taste."""
    shapes = (clip(seed, "shapes") for seed in range(FIRST_SEED, FIRST_SEED * 2))
    plain = (one for one in shapes if not one.style and one.pace == 1 and "camera" not in (one.facts or {}))
    return list(islice((one for one in plain if (one.facts or {}).get("motion") in STRAIGHT), count))


def fill(exam: Exam) -> list[Measure]:
    """Frames between given ones against the truth, and what holding or blending the given ones would reach."""
    inner, known, held, blended = [], [], [], []
    clips = straight_clips(exam.some(10))
    for seed, one in enumerate(clips):
        video_TCHW = exam.truth(one)
        made_TCHW = exam.make(one.caption, seed=seed, **keyed(video_TCHW))
        known.append(decibels(made_TCHW[list(GIVEN)], video_TCHW[list(GIVEN)]))
        rest = [frame for frame in range(len(video_TCHW)) if frame not in GIVEN]
        guesses = made_TCHW, *between(video_TCHW)
        for told, guess_TCHW in zip((inner, held, blended), guesses, strict=True):
            told.append(decibels(guess_TCHW[rest], video_TCHW[rest]))
    count = len(clips)
    return [
        Measure("fill: frames between three given ones", sum(inner) / count, "dB", count, bar=24),
        Measure("· the same by holding the nearest given frame", sum(held) / count, "dB", count),
        Measure("· the same by blending the given frames", sum(blended) / count, "dB", count),
        Measure("fill: the given frames", sum(known) / count, "dB", count, bar=35),
    ]


def keyed(video_TCHW: Tensor) -> dict:
    """Conditions and fields of a plan that give the frames of GIVEN: the first, the last, keyframes between."""
    pictures = {frame: bytes_of(video_TCHW[frame : frame + 1])[0] for frame in GIVEN}
    between_ = tuple((frame / FPS, pictures[frame]) for frame in GIVEN[1:-1])
    names = tuple(Keyframe(second, f"key-{second}") for second, _ in between_)
    conditions = Conditions(pictures[GIVEN[0]], pictures[GIVEN[-1]], between_)
    return {"conditions": conditions, "keyframes": names, "first_frame": "first", "last_frame": "last"}


def between(video_TCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Every frame as the nearest of the given ones, and as a blend of the two around it."""
    held, blended = video_TCHW.clone(), video_TCHW.clone()
    for before, after in pairwise(GIVEN):
        for frame in range(before, after):
            part = (frame - before) / (after - before)
            held[frame] = video_TCHW[before if part < 0.5 else after]
            blended[frame] = torch.lerp(video_TCHW[before], video_TCHW[after], part)
    return held, blended


def extension(exam: Exam) -> list[Measure]:
    """The change where an extension begins, by the usual change around it; the median over clips."""
    clips = plain_clips(exam.some(10), skip=500)
    with TemporaryDirectory() as folder:
        ratios = sorted(seam(exam, one, seed, Path(folder)) for seed, one in enumerate(clips))
    what = "extension: change at the seam, in changes inside"
    return [Measure(what, ratios[len(ratios) // 2], "", len(clips), bar=1.5, at_most=True)]


def seam(exam: Exam, one: Clip, seed: int, folder: Path) -> float:
    """The ratio for one clip."""
    source = footage(exam.truth(one), folder, f"clip-{seed}")
    made_TCHW = exam.make(
        one.caption,
        seed=seed,
        operation=Operation.EXTEND,
        source_clip="source",
        source_seconds=float(SECONDS),
        conditions=Conditions(source=source),
    )
    source_TCHW = torch.cat(list(pictures_of(source, exam.size)))
    joint = torch.cat([source_TCHW, made_TCHW])
    change = (joint[1:] - joint[:-1]).abs().mean((1, 2, 3))
    at = len(source_TCHW) - 1
    inside = torch.cat([change[:at], change[at + 1 :]])
    return (change[at] / (inside.median() + 1e-6)).item()


def pictures_of(source: Footage, size: Size) -> Iterator[Tensor]:
    """The clip as the engine reads it, in chunks."""
    for chunk_THWC in source.frames(size, FPS, SECONDS * FPS):
        yield torch.from_numpy(chunk_THWC.copy()).permute(0, 3, 1, 2).float() / 255


def strength(exam: Exam) -> list[Measure]:
    """Whether a clip goes farther from its source the stronger it is repainted."""
    clips = plain_clips(exam.some(6), skip=900)
    rising, far = 0, [0.0] * len(STRENGTHS)
    with TemporaryDirectory() as folder:
        for seed, (one, other) in enumerate(zip(clips, clips[1:] + clips[:1], strict=True)):
            ways = distances(exam, one, other.caption, seed, Path(folder))
            rising += all(a < b for a, b in pairwise(ways))
            far = [total + way for total, way in zip(far, ways, strict=True)]
    count = len(clips)
    return [
        Measure("repainting: farther from the source with strength", rising / count, clips=count, bar=0.9),
        *(
            Measure(f"· mean difference at {each}", way / count, "", count)
            for each, way in zip(STRENGTHS, far, strict=True)
        ),
    ]


def distances(exam: Exam, one: Clip, prompt: str, seed: int, folder: Path) -> list[float]:
    """Mean difference from the source for each strength."""
    source = footage(exam.truth(one), folder, f"source-{seed}")
    source_TCHW = torch.cat(list(pictures_of(source, exam.size)))
    given = {"operation": Operation.EDIT, "source_clip": "source", "source_seconds": float(SECONDS)}
    conditions = Conditions(source=source)
    made = (exam.make(prompt, seed=seed, strength=each, conditions=conditions, **given) for each in STRENGTHS)
    return [(made_TCHW - source_TCHW).abs().mean().item() for made_TCHW in made]
