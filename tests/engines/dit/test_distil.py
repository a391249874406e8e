"""A student answers once a step what its teacher answers in two forwards, and steps as far as two of its steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from domain.video import Plan
from engines.dit import checkpoint as checkpoints
from engines.dit import distil, flow, train_transformer
from engines.dit.checkpoint import Checkpoint
from engines.dit.conditioning import STRONGEST, Window, controls
from engines.dit.distil import INSTANT, Question, answer, guided, hurrying, joined, question
from engines.dit.engine import DitEngine
from engines.dit.lessons import Lesson
from engines.dit.run import Run
from engines.dit.train_transformer import Batch, Pool
from engines.protocol import Conditions, Step


@pytest.fixture(scope="module")
def student(networks: Checkpoint) -> Checkpoint:
    return checkpoints.student(networks)


@pytest.fixture(scope="module")
def batch(networks: Checkpoint) -> Batch:
    pool, lesson = Pool([]), Lesson((48, 80), 3, fps=6.0)
    train_transformer.fill(pool, networks.codec, lesson, 6, Random(0))
    return train_transformer.batch_of(pool, networks.vocabulary, lesson, Random(1))


def asked(batch: Batch, steps: int) -> Question:
    return question(batch, steps, torch.Generator().manual_seed(3))


def test_equal_parts_of_the_way_are_the_steps_of_the_sampler() -> None:
    ways = torch.linspace(0, 1, 9)
    times = flow.time_at(ways, 1008)
    assert times.tolist() == pytest.approx(flow.schedule(8, 1008), abs=1e-6)
    assert torch.allclose(flow.way_at(times, 1008), ways, atol=1e-5)


def test_one_joined_guess_leads_where_two_steps_lead() -> None:
    state, first, second = torch.randn(3, 2, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    times = 0.1, 0.3, 0.7
    shares = [(1 - b) / (1 - a) for a, b in ((times[0], times[1]), (times[1], times[2]))]
    twice = shares[1] * (shares[0] * state + (1 - shares[0]) * first) + (1 - shares[1]) * second
    guess = joined(first, second, torch.tensor(shares[0]), torch.tensor(shares[1]))
    once = flow.sample(lambda _state, _time, _then: guess, state, [times[0], times[2]], carries=False)
    assert torch.allclose(once, twice, atol=1e-6)


def test_a_student_begins_as_its_teacher(networks: Checkpoint, student: Checkpoint, batch: Batch) -> None:
    assert student.config.transformer.distilled
    question = asked(batch, INSTANT)
    texts = [each.transformer.text(question.rows_BNG) for each in (networks, student)]
    plain = networks.transformer(question.noisy_BLZhw, question.window, question.time_B, texts[0])
    told = question.told(question.time_B, question.then_B)
    for window in (question.window, told):
        assert torch.equal(plain, student.transformer(question.noisy_BLZhw, window, question.time_B, texts[1]))


def test_what_it_learned_survives_the_disk(student: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(student, tmp_path)
    assert checkpoints.load(tmp_path).config == student.config


@pytest.mark.parametrize("steps", [0, 8, 4])
def test_questions_are_where_the_sampler_will_be(batch: Batch, steps: int) -> None:
    question = asked(batch, steps)
    strides_B = flow.way_at(question.then_B, question.tokens) - flow.way_at(question.time_B, question.tokens)
    assert strides_B.tolist() == pytest.approx([1 / steps if steps else 0.0] * len(strides_B), abs=1e-4)
    assert (question.then_B <= 1).all()
    assert ((question.guidance_B >= 1) & (question.guidance_B <= STRONGEST)).all()
    known = batch.window.mask_BLhw.unsqueeze(2)
    assert torch.equal(question.window.known_BLZhw, batch.clean_BLZhw * known)


def test_long_strides_are_learned_from_itself_and_short_ones_from_the_teacher(
    networks: Checkpoint, student: Checkpoint, batch: Batch
) -> None:
    teacher, scholar = networks.transformer, student.transformer
    other = checkpoints.fresh(student.config, list(student.vocabulary.words), seed=9).transformer
    with torch.no_grad():
        for steps, same in ((0, True), (INSTANT, True), (4, False)):
            answers = [answer(asked(batch, steps), steps, each, teacher) for each in (scholar, other)]
            assert torch.equal(*answers) == same


def test_it_learns_what_its_teacher_says_under_guidance_and_where_two_steps_lead(
    networks: Checkpoint, batch: Batch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    teacher, scholar = networks.transformer, checkpoints.student(networks).transformer
    run = Run(scholar, tmp_path / "distilled.pt", minutes=10, rate=2e-3, decay=0.9)

    def errors() -> list[float]:
        found: list[float] = []
        for steps in (0, INSTANT):
            question = asked(batch, steps)
            with torch.no_grad():
                right = answer(question, steps, scholar, teacher)
                said = hurrying(scholar, question)(question.noisy_BLZhw, question.time_B, question.then_B)
            found.append((said - right).square().mean().item())
        return found

    before = errors()
    for step in range(60):
        assert run.goes_on()
        run.learn(distil.loss_of(scholar, teacher, batch, torch.Generator().manual_seed(step)))
    print(f"errors {before} -> {errors()}")
    assert all(after < 0.7 * first for first, after in zip(before, errors(), strict=True))


def test_guidance_pushes_away_from_nothing_and_keeps_what_is_known(networks: Checkpoint, batch: Batch) -> None:
    question = asked(batch, 0)
    alone = replace(question, guidance_B=torch.ones_like(question.guidance_B))
    with torch.no_grad():
        strong, plain = (guided(networks.transformer, each) for each in (question, alone))
        guesses = [each(question.noisy_BLZhw, question.time_B, question.then_B) for each in (strong, plain)]
        text = networks.transformer.text(question.rows_BNG)
        said = networks.transformer(question.noisy_BLZhw, question.window, question.time_B, text)
    assert torch.allclose(guesses[1], question.window.kept(said), atol=1e-5)
    assert not torch.equal(*guesses)


@pytest.mark.parametrize(("negative", "clips"), [("", 1), ("a lake", 2)])
def test_a_distilled_model_is_asked_once_a_step(student: Checkpoint, plan: Plan, negative: str, clips: int) -> None:
    asked_for: list[int] = []
    hook = student.transformer.register_forward_pre_hook(lambda _module, given: asked_for.append(len(given[0])))
    steps: list[Step] = []
    try:
        list(DitEngine(student).render(replace(plan, negative_prompt=negative), Conditions(), steps.append))
    finally:
        hook.remove()
    assert asked_for == [clips] * plan.steps
    assert sum(step.phase == "denoise" for step in steps) == plan.steps


def test_guidance_and_stride_are_heard(student: Checkpoint) -> None:
    model = checkpoints.fresh(student.config, list(student.vocabulary.words)).transformer
    model.load_state_dict(student.transformer.state_dict())
    with torch.no_grad():
        model.steer.weight[:, -2:] += 0.5
    text = model.text(student.vocabulary.encode([["a", "red", "ball"]]))
    window = Window.of((2, 16, 4, 6), controls(6.0))
    state = torch.randn(1, 2, 16, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        guesses = [
            flow.Distilled(model, text, window, guidance)(state, 0.1, then)
            for guidance, then in ((1.0, 0.1), (3.0, 0.1), (1.0, 0.4))
        ]
        plain = flow.Guided(model, text, window, 1.0)(state, 0.1, 0.4)
    assert torch.equal(guesses[0], plain)
    assert not torch.equal(guesses[0], guesses[1])
    assert not torch.equal(guesses[0], guesses[2])
