"""What a render is told meanwhile, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from engines.protocol import Interrupted, Step
from engines.upstream import engine as upstream
from engines.upstream.wire import FarEndFailed
from tests.engines.upstream.driving import PLAN, TICKET, engine, render
from tests.engines.upstream.far_end import far_end


def test_a_percentage_that_moves_becomes_steps() -> None:
    with far_end("openai", seconds=0.6) as server:
        _, steps = render(engine(server), replace(PLAN, rendered_fps=24, fps=24))
    shown = [step.done for step in steps if step.phase == "denoise"]
    assert len(set(shown)) > 2
    assert shown == sorted(shown)
    assert all(step.total == 100 for step in steps if step.phase == "denoise")


def test_a_percentage_that_stands_still_is_no_progress() -> None:
    stuck = (200, {}, {"id": "video_1", "status": "in_progress", "progress": 40})
    with far_end("openai") as server:
        server.wrong.create = [(200, {}, {"id": "video_1", "status": "queued", "progress": 0})]
        server.wrong.look = [stuck] * 40
        steps: list[Step] = []
        chunks = engine(server, timeout_seconds=1.0).render(PLAN, TICKET, steps.append)
        with pytest.raises(FarEndFailed, match="no result within"):
            next(chunks)
    told = steps[steps.index(Step("denoise", 40, 100)) :]
    assert set(told) == {Step("denoise", 40, 100)}


def test_without_a_percentage_the_steps_are_estimated_from_the_last_render() -> None:
    with far_end("vllm-omni", seconds=0.5) as server:
        made = engine(server)
        _, first = render(made)
        _, second = render(made)
    assert {step.phase for step in first} == {"wait", "decode"}, "nothing is made up"
    estimated = [step.done for step in second if step.phase == "denoise"]
    assert estimated == sorted(estimated)
    assert 0 < max(estimated) <= 0.95 * PLAN.steps
    signs = [step.done for step in first if step.phase == "wait"]
    assert len(set(signs)) > 3, "each answer is a sign of life"


def interrupt_after(seconds: float) -> Callable[[Step], None]:
    over_at = time.monotonic() + seconds

    def on_step(_: Step) -> None:
        if time.monotonic() > over_at:
            raise Interrupted

    return on_step


@pytest.mark.parametrize("dialect", ["vllm-omni", "sglang"])
def test_an_interrupt_stops_the_far_end_at_once(dialect: str) -> None:
    with far_end(dialect, seconds=30) as server:
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            next(engine(server).render(PLAN, TICKET, interrupt_after(0.3)))
        took = time.monotonic() - begun
        assert len(server.of("DELETE")) == 1
        assert server.jobs == {}
        (job,) = server.made
        assert (job.aborted is None) is (dialect == "sglang"), "SGLang only drops the record, as it is documented"
    assert took < 1.5


def test_an_interrupt_is_seen_between_two_looks_that_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "FIRST_PAUSE", 20.0)
    with far_end(seconds=30) as server:
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            next(engine(server).render(PLAN, TICKET, interrupt_after(0.3)))
        assert time.monotonic() - begun < 2.0
        assert server.jobs == {}
