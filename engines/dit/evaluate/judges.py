"""The exam of the judges themselves: on the renderer's own clips, and on those under another clip's caption."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from itertools import islice

import torch

from engines.dit.checkers import cuts
from engines.dit.data import HELD_OUT, clip
from engines.dit.evaluate.asking import Exam
from engines.dit.evaluate.attributes import by_chance, right, seen, share
from engines.dit.evaluate.measure import Measure
from engines.dit.evaluate.prompts import ATTRIBUTES, Question, judgeable

FIRST_SEED = HELD_OUT // 2  # far from what the model is asked
CEILING = 0.97


def judges(exam: Exam) -> list[Measure]:
    """The ceiling and the chance of every judge, on clips of any style and with any camera."""
    return [*(judge(exam, name) for name in ATTRIBUTES), shot_judge(exam)]


def judge(exam: Exam, name: str) -> Measure:
    """One attribute."""
    told = (one for one in map(clip, range(FIRST_SEED, HELD_OUT)) if name in judgeable(one))
    questions = [Question(one, (name,)) for one in islice(told, exam.some(40))]
    sights = [seen(exam.truth(question.clip), question.names) for question in questions]
    hits, luck = right(questions, sights), by_chance(questions, sights)
    return Measure(f"judge of {name}", share(hits), clips=len(hits), bar=CEILING, chance=share(luck))


def shot_judge(exam: Exam) -> Measure:
    """Whether a cut between two clips is found, and nothing else; chance is finding one in a clip without."""
    clips = [exam.truth(clip(FIRST_SEED + seed)) for seed in range(exam.some(20))]
    found = [cuts(torch.cat(pair)) == [len(pair[0])] for pair in zip(clips, clips[1:] + clips[:1], strict=True)]
    false = [bool(cuts(each)) for each in clips]
    return Measure("judge of cuts", share(found), clips=len(found), bar=CEILING, chance=share(false))
