"""Do clips show what was asked? By the judges: the model, the renderer (ceiling) and wrong captions (chance)."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

from torch import Tensor

from engines.dit.checkers import JUDGES, SceneJudge
from engines.dit.data import HELD_OUT, clip, held_out_clip
from engines.dit.evaluate import prompts
from engines.dit.evaluate.asking import Exam
from engines.dit.evaluate.measure import Measure
from engines.dit.evaluate.prompts import Question

Sight = dict[str, str | None]
KNOWN = range(2 * HELD_OUT, 2 * HELD_OUT + 1200)  # clips of the renderer that the judge of scenes knows
KNOWN_PAIRS = range(5000, 5300)  # and those with a pair that training never put together, other ones than are asked
DRAFT = 4  # steps


@cache
def scene_judge() -> SceneJudge:
    """Draws the clips that it knows, once."""
    return SceneJudge([*map(clip, KNOWN), *map(held_out_clip, KNOWN_PAIRS)], 72, 128)


def seen(video_TCHW: Tensor, names: Sequence[str]) -> Sight:
    """What the judges see."""
    return {name: judge_of(name)(video_TCHW) for name in names}


def judge_of(name: str) -> Callable[[Tensor], str | None]:
    """The judge of a fact."""
    if name in JUDGES:
        return JUDGES[name]
    return {"family": scene_judge().family, "style": scene_judge().style}[name]


def right(questions: Sequence[Question], sights: Sequence[Sight]) -> list[bool]:
    """Whether all that is asked of each clip is as its caption says."""
    return [
        all(sight[name] == (question.clip.facts or {})[name] for name in question.names)
        for question, sight in zip(questions, sights, strict=True)
    ]


def by_chance(questions: Sequence[Question], sights: Sequence[Sight]) -> list[bool]:
    """The same for each clip under the caption of the next one of which the same kinds of facts are asked."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for index, question in enumerate(questions):
        kinds.setdefault(question.names, []).append(index)
    pairs = [(a, b) for group in kinds.values() if len(group) > 1 for a, b in pairwise([*group, group[0]])]
    return right([questions[b] for _, b in pairs], [sights[a] for a, _ in pairs])


def share(hits: Sequence[bool]) -> float:
    """Share of true ones; 0 of none."""
    return sum(hits) / max(1, len(hits))


def made(exam: Exam, questions: Sequence[Question], steps: int, every: int = 1) -> list[Sight]:
    """What the model's clips for the captions show; their seeds are 0, `every`, ..."""
    return [
        seen(exam.make(question.clip.caption, seed=every * index, steps=steps), question.names)
        for index, question in enumerate(questions)
    ]


def real(exam: Exam, questions: Sequence[Question]) -> list[Sight]:
    """What the renderer's own clips show."""
    return [seen(exam.truth(question.clip), question.names) for question in questions]


def single(exam: Exam) -> list[Measure]:
    """One fact of each caption; on a third of them also with few steps."""
    questions = prompts.single(exam.count)
    sights, ideal = made(exam, questions, exam.steps), real(exam, questions)
    rows = [scored("single attribute", questions, sights, ideal, bar=0.9)]
    for name in prompts.ATTRIBUTES:
        chosen = [index for index, question in enumerate(questions) if question.names == (name,)]
        rows += [scored(f"· {name}", *picked(chosen, questions, sights, ideal))] if chosen else []
    return [*rows, draft(exam, questions[::3], sights[::3])]


def picked(
    chosen: Sequence[int], questions: Sequence[Question], sights: Sequence[Sight], ideal: Sequence[Sight]
) -> tuple[list[Question], list[Sight], list[Sight]]:
    """Some of the clips of all three."""
    return [questions[i] for i in chosen], [sights[i] for i in chosen], [ideal[i] for i in chosen]


def draft(exam: Exam, questions: Sequence[Question], sights: Sequence[Sight]) -> Measure:
    """What few steps lose, on the same captions and seeds."""
    few = made(exam, questions, DRAFT, every=3)
    lost = share(right(questions, sights)) - share(right(questions, few))
    what = f"lost with {DRAFT} steps instead of {exam.steps}"
    return Measure(what, lost, clips=len(few), bar=0.05, at_most=True)


def combination(exam: Exam) -> list[Measure]:
    """All facts of captions with a pair that is held out from training."""
    return [judged("held-out combination, all right", exam, prompts.combinations(exam.count), bar=0.8)]


def synonym(exam: Exam) -> list[Measure]:
    """The colour of captions with a word for it that training never put beside that object."""
    return [judged("synonym never seen beside that object", exam, prompts.synonyms(exam.some(50)), bar=0.85)]


def judged(what: str, exam: Exam, questions: Sequence[Question], bar: float) -> Measure:
    """Render, look, score."""
    return scored(what, questions, made(exam, questions, exam.steps), real(exam, questions), bar)


def scored(
    what: str, questions: Sequence[Question], sights: Sequence[Sight], ideal: Sequence[Sight], bar: float | None = None
) -> Measure:
    """The share of clips with all facts right, with its ceiling and its chance."""
    return Measure(
        what,
        share(right(questions, sights)),
        clips=len(questions),
        bar=bar,
        ceiling=share(right(questions, ideal)),
        chance=share(luck) if (luck := by_chance(questions, sights)) else None,
    )
