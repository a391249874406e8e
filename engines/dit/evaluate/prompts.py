"""What the model is asked in the exam: captions that training never drew, and what a judge is to see in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as numbers
from itertools import islice

from engines.dit.data import Clip, clip, held_out_clip
from engines.dit.data.shapes import SHAPES

ATTRIBUTES = (
    "object", "shape", "motion", "background", "ground", "planet", "time", "weather", "style", "camera", "family",
)  # fmt: skip
FIRST_SEED = 20_000  # far from the seeds that training looks at to see how it is doing
HIDDEN_IN_SHAPES = ("camera", "family")  # before a plain wall, a pan looks like the shape's own way
HIDDEN_BY = {"shape": ("sketch", "noir"), "weather": ("sketch",)}  # only lines of it are left, or nothing
FAR = 400_000  # seeds after which a fact is said not to come up


@dataclass(frozen=True, slots=True)
class Question:
    """A clip whose caption the model gets, and the names of the facts to judge."""

    clip: Clip
    names: tuple[str, ...]


def judgeable(one: Clip) -> tuple[str, ...]:
    """The facts that there is a judge for, and that a picture of this style shows."""
    facts = one.facts or {}
    hidden = HIDDEN_IN_SHAPES if one.family == "shapes" else ()
    hidden += tuple(name for name, styles in HIDDEN_BY.items() if one.style in styles)
    return tuple(name for name in ATTRIBUTES if name in facts and name not in hidden)


def single(count: int) -> list[Question]:
    """Captions with nothing held out in them, one fact each, spread evenly over all that can be judged."""
    asked: list[Question] = []
    for place, name in enumerate(ATTRIBUTES):
        share = len(range(place, count, len(ATTRIBUTES)))
        asked += [Question(one, (name,)) for one in islice(_telling(name), share)]
    return asked


def _telling(name: str) -> Iterator[Clip]:
    """Clips whose caption tells this fact and, as far as possible, neither a style nor a camera's move beside it."""
    for seed in range(FIRST_SEED, FAR):
        one = clip(seed)
        facts = one.facts or {}
        if name not in judgeable(one) or one.unseen or one.pace != 1:
            continue
        if not ({"style", "camera"} - {name}) & set(facts) and (one.style == "" or name == "style"):
            yield one


def combinations(count: int) -> list[Question]:
    """Captions with a pair of attributes that training never put together; every fact is judged."""
    new = (one for one in map(held_out_clip, numbers()) if any(kind != "synonym" for kind, *_ in one.unseen))
    return [Question(one, judgeable(one)) for one in islice(new, count)]


def synonyms(count: int) -> list[Question]:
    """Captions with a word for a colour that training never put beside this object; the colour is judged."""
    told = ((one, said(one)) for one in (held_out_clip(seed, "synonym") for seed in numbers()))
    return [Question(one, names) for one, names in islice((each for each in told if each[1]), count)]


def said(one: Clip) -> tuple[str, ...]:
    """The facts that the held-out synonyms of a caption say."""
    things = {thing for kind, _, thing in one.unseen if kind == "synonym"}
    names = {"object" if thing in SHAPES else thing for thing in things}
    return tuple(name for name in judgeable(one) if name in names)
