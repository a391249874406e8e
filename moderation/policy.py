"""What is allowed: categories, thresholds, and the decision made of rules and scores. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POLICY_VERSION = "kinema-2026-11"

# The names and order of OpenAI's moderation categories.
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

Action = Literal["allow", "review", "block"]
SEVERITY: dict[Action, int] = {"allow": 0, "review": 1, "block": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that applies. `category` is None where OpenAI's list has no name for it (likeness, trademarks)."""

    rule: str
    action: Action
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores from which a category is held for a person, and from which it is refused."""

    review: float
    block: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one text or one set of frames. `reasons` are rule names and categories, worst first."""

    action: Action
    scores: Mapping[str, float]  # every category, 0 to 1
    reasons: tuple[str, ...] = ()
    policy: str = field(default=POLICY_VERSION)

    @property
    def flagged(self) -> bool:
        """OpenAI's flag: anything but a plain allow."""
        return self.action != "allow"


DEFAULT_THRESHOLD = Threshold(review=0.5, block=0.8)
THRESHOLDS: dict[str, Threshold] = dict.fromkeys(CATEGORIES, DEFAULT_THRESHOLD)
NO_SCORES: dict[str, float] = dict.fromkeys(CATEGORIES, 0.0)
RULE_SCORES: dict[Action, float] = {"allow": 0.0, "review": 0.6, "block": 0.99}


def decide(findings: Iterable[Finding], scores: Mapping[str, float] | None = None) -> Decision:
    """Weigh what the rules found and what the classifier scored (nothing, where it did not run)."""
    merged = {**NO_SCORES, **(scores or {})}
    verdicts: list[tuple[Action, str]] = [(_action(category, score), category) for category, score in merged.items()]
    for finding in findings:
        verdicts.append((finding.action, finding.rule))
        if finding.category:
            merged[finding.category] = max(merged[finding.category], RULE_SCORES[finding.action])
    against = sorted((each for each in verdicts if each[0] != "allow"), key=lambda each: -SEVERITY[each[0]])
    return Decision(against[0][0] if against else "allow", merged, tuple(reason for _, reason in against))


def worst(decisions: Iterable[Decision]) -> Decision:
    """The decision on a whole: the most severe action, every reason, the highest score of each category."""
    each = sorted(decisions, key=lambda decision: -SEVERITY[decision.action])
    if not each:
        return Decision("allow", NO_SCORES)
    scores = {category: max(decision.scores[category] for decision in each) for category in CATEGORIES}
    reasons = dict.fromkeys(reason for decision in each for reason in decision.reasons)
    return Decision(each[0].action, scores, tuple(reasons))


def _action(category: str, score: float) -> Action:
    threshold = THRESHOLDS[category]
    if score >= threshold.block:
        return "block"
    return "review" if score >= threshold.review else "allow"
