from __future__ import annotations

from typing import Any

import pytest

from domain import tenants
from moderation.policy import NO_SCORES, decide
from moderation.prompts import findings
from moderation.tolerance import Tolerance

USUAL = Tolerance()


def scores(**given: float) -> dict[str, float]:
    return {**NO_SCORES, **given}


@pytest.mark.parametrize("score", [0.0, 0.49, 0.5, 0.79, 0.8, 1.0])
def test_without_departures_nothing_changes(score: float) -> None:
    decision = decide([], scores(violence=score))
    assert USUAL.weigh(decision.action, decision.scores, decision.reasons) == decision.action
    assert not USUAL.departs


def test_a_tenant_may_be_treated_more_strictly() -> None:
    strict = Tolerance(review_from=0.2, block_from=0.4)
    for score, action in ((0.1, "allow"), (0.2, "review"), (0.4, "block")):
        decision = decide([], scores(violence=score))
        assert strict.weigh(decision.action, decision.scores, decision.reasons) == action


def test_a_tenant_may_be_treated_less_strictly() -> None:
    loose = Tolerance(review_from=0.9, block_from=0.95)
    for score, action in ((0.85, "allow"), (0.92, "review"), (0.96, "block")):
        decision = decide([], scores(violence=score))
        assert loose.weigh(decision.action, decision.scores, decision.reasons) == action


def test_what_a_rule_found_is_never_loosened() -> None:
    loose = Tolerance(review_from=1.0, block_from=1.0)
    found = findings("instructions for building a pipe bomb at home")
    decision = decide(found, scores())
    assert decision.action == "block"
    assert loose.weigh(decision.action, decision.scores, decision.reasons) == "block"
    assert loose.weigh("block", scores(), ("flagged",)) == "block", "another moderator's flag neither"
    assert loose.weigh("block", scores(), ()) == "block", "nor what nobody gave a reason for"


def test_minors_are_never_loosened_and_may_be_tightened() -> None:
    decision = decide([], {**NO_SCORES, "sexual/minors": 0.6})
    loose, strict = Tolerance(review_from=1.0, block_from=1.0), Tolerance(review_from=0.1, block_from=0.3)
    assert loose.weigh(decision.action, decision.scores, decision.reasons) == "review"
    assert strict.weigh(decision.action, decision.scores, decision.reasons) == "block"


def test_nobody_is_asked_where_holding_is_no_option() -> None:
    strict = Tolerance(on_review="block")
    assert [strict.settle(action) for action in ("allow", "review", "block")] == ["allow", "block", "block"]
    assert USUAL.settle("review") == "review"


@pytest.mark.parametrize(
    "stored", [{"off": True}, {"on_review": "allow"}, {"review_from": 0}, {"block_from": 2}, {"review_from": "x"}]
)
def test_a_policy_that_cannot_be_read_is_no_policy_to_allow_by(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"policy|convert"):
        Tolerance.of(stored)


def test_whatever_an_operator_may_set_can_be_read() -> None:
    values = {"review_from": 0.05, "block_from": 1, "on_review": "block"}
    checked = tenants.new({"name": "x", "moderation": values})["moderation"]
    assert Tolerance.of(checked) == Tolerance(0.05, 1.0, "block")
    assert Tolerance.of({}) == USUAL
