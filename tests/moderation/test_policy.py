from __future__ import annotations

import pytest

from moderation.policy import CATEGORIES, NO_SCORES, POLICY_VERSION, THRESHOLDS, Decision, Finding, decide, worst


def test_nothing_found_is_allowed_with_every_category_at_zero() -> None:
    decision = decide(())
    assert decision == Decision("allow", NO_SCORES, (), POLICY_VERSION)
    assert not decision.flagged
    assert len(decision.scores) == 13


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_category_has_a_band_for_people_below_its_refusal(category: str) -> None:
    threshold = THRESHOLDS[category]
    assert 0 < threshold.review < threshold.block < 1
    assert decide((), {category: threshold.review - 0.01}).action == "allow"
    assert decide((), {category: threshold.review}).action == "review"
    blocked = decide((), {category: threshold.block})
    assert (blocked.action, blocked.reasons, blocked.flagged) == ("block", (category,), True)


def test_the_most_severe_reason_decides_and_comes_first() -> None:
    decision = decide(
        [Finding("trademark", "review"), Finding("extermination", "block", "hate/threatening")],
        {"violence": THRESHOLDS["violence"].review},
    )
    assert decision.action == "block"
    assert decision.reasons == ("extermination", "violence", "trademark")


def test_a_rule_lifts_its_categorys_score_but_never_lowers_one() -> None:
    assert decide([Finding("r", "block", "sexual")]).scores["sexual"] == pytest.approx(0.99)
    assert decide([Finding("r", "review", "sexual")], {"sexual": 0.7}).scores["sexual"] == pytest.approx(0.7)


def test_the_whole_is_as_bad_as_its_worst_part() -> None:
    parts = [decide((), {"hate": 0.2}), decide([Finding("trademark", "review")], {"violence": 0.3})]
    whole = worst(parts)
    assert (whole.action, whole.reasons) == ("review", ("trademark",))
    assert (whole.scores["hate"], whole.scores["violence"]) == (0.2, 0.3)
    assert worst([]).action == "allow"
