"""A tenant's departures from the policy of the installation: how much is held or refused, never whether it is asked.

Standard library only. What `domain.tenants` lets an operator set is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from moderation.policy import CATEGORIES, SEVERITY, THRESHOLDS, Action, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIRM = frozenset({"sexual/minors"})  # may be tightened, never loosened
OnReview = Literal["hold", "block"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Scores from which a text is held and refused (None: the installation's), and whether holding is an option."""

    review_from: float | None = None
    block_from: float | None = None
    on_review: OnReview = "hold"

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """From the tenant's row. Raises ValueError for what no operator can have set: then nothing may be allowed."""
        made = cls(**stored) if stored.keys() <= {"review_from", "block_from", "on_review"} else None
        if made is None or made.on_review not in get_args(OnReview):
            raise ValueError("the tenant's moderation policy cannot be read")
        for score in (made.review_from, made.block_from):
            if score is not None and not 0 < float(score) <= 1:
                raise ValueError("the tenant's moderation policy names no score")
        return made

    @property
    def departs(self) -> bool:
        """Whether it asks for anything but the policy of the installation."""
        return self != Tolerance()

    def weigh(self, action: Action, scores: Mapping[str, float], reasons: Iterable[str]) -> Action:
        """The action on a text. A decision that a rule had part in is only ever tightened."""
        by_scores = _worst([self._of(category, scores.get(category, 0.0)) for category in CATEGORIES])
        named = list(reasons)
        only_scores = bool(named) and all(reason in CATEGORIES for reason in named)
        return by_scores if only_scores else _worst([action, by_scores])

    def settle(self, action: Action) -> Action:
        """What becomes of something that a person would have to see."""
        return "block" if action == "review" and self.on_review == "block" else action

    def _of(self, category: str, score: float) -> Action:
        threshold = self._threshold(category)
        if score >= threshold.block:
            return "block"
        return "review" if score >= threshold.review else "allow"

    def _threshold(self, category: str) -> Threshold:
        usual = THRESHOLDS[category]
        review = usual.review if self.review_from is None else self.review_from
        block = usual.block if self.block_from is None else self.block_from
        if category in FIRM:
            return Threshold(min(review, usual.review), min(block, usual.block))
        return Threshold(review, block)


def _worst(actions: list[Action]) -> Action:
    return max(actions, key=SEVERITY.__getitem__)
