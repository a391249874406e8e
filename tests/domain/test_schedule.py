"""Fairness of the rules themselves, on a virtual clock. `tests/storage/test_fairness.py` asks the same of the SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import mean

import pytest

from domain import schedule
from domain.schedule import Share
from tests.fixtures.fairness import BACKLOG, BLIND_ESTIMATE, FIRST_CLAIMS, SLOTS, SMALL, WHALE, Farm, entitled, jain

SEEDS = range(100)


@dataclass
class Rules:
    """`domain.schedule`, driven as storage drives it; it knows no cost before the release."""

    shares: dict[str, Share]

    def claim(self) -> tuple[str, object] | None:
        self.shares = {name: schedule.doze(share) for name, share in self.shares.items()}
        chosen = schedule.choose(self.shares.values())
        if chosen is None:
            return None
        self.shares[chosen.tenant] = schedule.claim(chosen, BLIND_ESTIMATE)
        return chosen.tenant, chosen.tenant

    def release(self, handle: object, cost: float) -> None:
        name = str(handle)
        self.shares[name] = schedule.release(self.shares[name], BLIND_ESTIMATE, cost)

    def waiting(self, tenant: str) -> int:
        return self.shares[tenant].backlog

    def arrive(self, tenant: str, backlog: int) -> None:
        self.shares[tenant] = replace(self.shares[tenant], backlog=backlog)


def farm(
    seed: int, backlog: Mapping[str, int], *, caps: int = SLOTS, weights: Mapping[str, float] | None = None
) -> Farm:
    shares = {
        name: Share(name, videos, cap=caps, weight=(weights or {}).get(name, 1.0)) for name, videos in backlog.items()
    }
    return Farm(Rules(shares), seed, dict.fromkeys(backlog, caps))


@pytest.mark.parametrize("head_start", [0, 50])
@pytest.mark.parametrize("cap", [1, SLOTS])
def test_a_whale_does_not_keep_small_tenants_waiting(head_start: int, cap: int) -> None:
    latest, indices = [], []
    for seed in SEEDS:
        run = farm(seed, {**BACKLOG, **(dict.fromkeys(SMALL, 0) if head_start else {})}, caps=cap)
        rules = run.scheduler
        assert isinstance(rules, Rules)
        for _ in range(head_start):
            assert run.step()
        if head_start:
            run.seconds.clear()
            for tenant in SMALL:
                rules.arrive(tenant, BACKLOG[tenant])
        while any(rules.waiting(tenant) for tenant in SMALL):
            assert run.step()
        firsts = run.first_claims(head_start)
        latest.append(max(firsts[tenant] for tenant in SMALL))
        indices.append(jain(run.seconds, entitled(run.seconds, set(SMALL))))
    print(
        f"head start {head_start}, cap {cap}: the last small tenant begins at claim {max(latest)},"
        f" Jain index {min(indices):.3f} at worst, {mean(indices):.3f} in the mean of {len(SEEDS)} seeds"
    )
    assert max(latest) <= FIRST_CLAIMS
    assert min(indices) >= 0.95


def test_ten_tenants_with_endless_work_get_the_same_gpu_seconds() -> None:
    indices = []
    for seed in SEEDS:
        run = farm(seed, dict.fromkeys((WHALE, *SMALL), 1_000))
        for _ in range(200):
            assert run.step()
        indices.append(jain(run.seconds, entitled(run.seconds, set())))
    print(f"Jain index of GPU-seconds after 200 claims: {min(indices):.3f} at worst, {mean(indices):.3f} in the mean")
    assert min(indices) >= 0.95


def test_a_weight_of_three_gets_three_times_the_gpu_seconds() -> None:
    ratios = []
    for seed in SEEDS:
        run = farm(seed, {"heavy": 1_000, "light": 1_000}, weights={"heavy": 3.0})
        for _ in range(200):
            assert run.step()
        ratios.append(run.seconds["heavy"] / run.seconds["light"])
    print(f"3:1 weights share {min(ratios):.2f} to {max(ratios):.2f}, {mean(ratios):.2f} in the mean")
    assert min(ratios) >= 2.7
    assert max(ratios) <= 3.3


class FirstComeFirstServed(Rules):
    """The whale's thousand videos came first."""

    def claim(self) -> tuple[str, object] | None:
        first = next(share for share in self.shares.values() if share.backlog and share.running < share.cap)
        self.shares[first.tenant] = schedule.claim(first, BLIND_ESTIMATE)
        return first.tenant, first.tenant


def test_first_come_first_served_fails_the_same_measures() -> None:
    fair = farm(0, BACKLOG).scheduler
    assert isinstance(fair, Rules)
    run = Farm(FirstComeFirstServed(fair.shares), 0, dict.fromkeys(BACKLOG, SLOTS))
    for _ in range(200):
        assert run.step()
    assert set(run.first_claims()) == {WHALE}
    received = {tenant: run.seconds[tenant] for tenant in BACKLOG}
    assert jain(received, entitled(received, set())) == pytest.approx(0.1)


def test_a_tenant_at_its_cap_is_passed_over() -> None:
    run = farm(0, {"a": 10, "b": 10}, caps=1)
    for _ in range(20):
        assert run.step()
    assert not run.step()
    assert run.order[:2] == ["a", "b"]


def test_nobody_goes_when_nobody_waits() -> None:
    assert schedule.choose([]) is None
    assert schedule.choose([Share("a", 0)]) is None
    assert schedule.choose([Share("a", 1, running=1, cap=1)]) is None
