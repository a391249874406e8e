"""The denoiser and its noise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engines.dit import flow
from engines.dit.checkpoint import Checkpoint
from engines.dit.conditioning import Window, controls, moment
from engines.dit.model import from_tokens, place_of, to_tokens


def inputs(latents: int = 3, height: int = 4, width: int = 6) -> tuple[Tensor, Window, Tensor]:
    """Noisy latents, a window of two clips of which the second one's first latent frame is known, and times."""
    generator = torch.Generator().manual_seed(0)
    noisy, known = (torch.randn(2, latents, 16, height, width, generator=generator) for _ in range(2))
    window = Window.of(noisy.shape[1:], controls(12.0)).repeat(2)
    window.mask_BLhw[1, 0] = 1
    return noisy, replace(window, known_BLZhw=known * window.mask_BLhw.unsqueeze(2)), torch.tensor([0.2, 0.7])


@torch.no_grad()
def test_it_answers_in_the_shape_of_its_latents(networks: Checkpoint) -> None:
    model, vocabulary = networks.transformer, networks.vocabulary
    text = model.text(vocabulary.encode([["red", "ball"], []]))
    for latents, height, width in ((3, 4, 6), (1, 6, 4), (7, 2, 2)):
        noisy, window, time = inputs(latents, height, width)
        assert model(noisy, window, time, text).shape == noisy.shape


@torch.no_grad()
def test_noise_under_known_latents_is_not_seen(networks: Checkpoint) -> None:
    model = networks.transformer
    text = model.text(networks.vocabulary.encode([[], []]))
    noisy, window, time = inputs()
    other = noisy.clone()
    other[1, 0] += 1
    assert torch.equal(model(noisy, window, time, text), model(other, window, time, text))
    other[0, 0] += 1
    assert not torch.equal(model(noisy, window, time, text), model(other, window, time, text))


@torch.no_grad()
def test_a_region_can_be_known_in_every_latent_frame(networks: Checkpoint) -> None:
    model = networks.transformer
    text = model.text(networks.vocabulary.encode([[], []]))
    noisy, window, time = inputs()
    window.mask_BLhw[0, :, :, :4] = 1
    other = noisy.clone()
    other[0, :, :, :, :4] += 1
    assert torch.equal(model(noisy, window, time, text), model(other, window, time, text))
    other[0, :, :, :, 4:] += 1
    assert not torch.equal(model(noisy, window, time, text), model(other, window, time, text))


@torch.no_grad()
def test_time_prompt_known_latents_and_numbers_all_matter(networks: Checkpoint) -> None:
    model, vocabulary = networks.transformer, networks.vocabulary
    noisy, window, time = inputs()
    red, blue = (model.text(vocabulary.encode([[colour, "ball"], [colour]])) for colour in ("red", "blue"))
    base = model(noisy, window, time, red)
    assert not torch.equal(base, model(noisy, window, time, blue))
    assert not torch.equal(base, model(noisy, window, time * 0.5, red))
    known = replace(window, known_BLZhw=window.known_BLZhw + window.mask_BLhw.unsqueeze(2))
    assert not torch.equal(base[1], model(noisy, known, time, red)[1])
    for other in (
        replace(window, at_BL=window.at_BL + torch.arange(3) / 2),
        replace(window, still_BL=1 - window.still_BL),
        replace(window, controls_BC=controls(6.0).repeat(2, 1)),
        replace(window, controls_BC=controls(12.0, motion=0.8).repeat(2, 1)),
        replace(window, controls_BC=controls(12.0, style="noir").repeat(2, 1)),
        replace(window, controls_BC=controls(12.0, camera=(0.5, 0.0)).repeat(2, 1)),
        replace(window, controls_BC=controls(12.0, camera=(0.0, -0.5)).repeat(2, 1)),
        replace(window, view_BLV=window.view_BLV + torch.arange(3)[:, None] * torch.tensor([0.1, 0.0])),
        replace(window, view_BLV=window.view_BLV + torch.arange(3)[:, None] * torch.tensor([0.0, 0.1])),
    ):
        assert not torch.equal(base, model(noisy, other, time, red))


@torch.no_grad()
def test_guidance_leads_away_from_no_style(networks: Checkpoint) -> None:
    model = networks.transformer
    text = model.text(networks.vocabulary.encode([["red"], ["red"]]))
    noisy = inputs()[0]
    plain, styled = (Window.of(noisy.shape[1:], controls(12.0, 0.8, style)) for style in ("", "noir"))

    def guess(window: Window, guidance: float) -> Tensor:
        return flow.Guided(model, text, window, guidance)(noisy[:1], 0.3, 0.4)

    assert torch.allclose(guess(plain, 1.0), guess(plain, 4.0), atol=1e-4)
    away = guess(plain, 1.0) + 4 * (guess(styled, 1.0) - guess(plain, 1.0))
    assert torch.allclose(guess(styled, 4.0), away, atol=1e-3)
    assert not torch.allclose(guess(styled, 4.0), guess(styled, 1.0), atol=1e-3)


@torch.no_grad()
def test_a_picture_at_another_moment_is_seen(networks: Checkpoint) -> None:
    model = networks.transformer
    text = model.text(networks.vocabulary.encode([[], []]))
    noisy, window, time = inputs()
    picture = torch.randn(16, 4, 6, generator=torch.Generator().manual_seed(1))

    def guess(at: float) -> Tensor:
        longer = window.append(picture, at)
        assert longer.at_BL.shape == (2, 4)
        return model(torch.cat([noisy, noisy[:, :1]], 1), longer, time, text)[:, :3]

    assert not torch.equal(guess(moment(8)), guess(moment(12)))
    assert guess(moment(8)).shape == noisy.shape


def test_a_picture_stands_at_the_end_of_the_latent_frame_that_holds_it() -> None:
    assert [moment(frame) for frame in (0, 1, 4, 5, 48)] == [0.0, 1.0, 1.75, 2.0, 12.75]


def test_tokens_and_latents_are_the_same_numbers() -> None:
    noisy = inputs()[0]
    assert torch.equal(from_tokens(to_tokens(noisy), 4, 6), noisy)


def test_places_are_centred_and_measured_in_short_sides() -> None:
    sizes = (8, 14), (16, 28)
    small, large = (
        place_of(Window.of((1, 16, *size), controls(12.0)), *size, 64).features_BLSF[0, 0] for size in sizes
    )
    corner = 0
    assert torch.allclose(small[corner, 0], -small[-1, 0])
    assert (small[corner, 0] - large[corner, 0]).abs() < 0.25


def test_most_training_times_are_early_and_earlier_for_larger_clips() -> None:
    generator = torch.Generator().manual_seed(0)
    small, large = (flow.draw_times(4000, tokens, generator) for tokens in (196, 1008))
    assert small.median() < 0.25
    assert large.median() < 0.15
    assert small.max() > 0.8


def test_the_schedule_runs_from_noise_to_clean() -> None:
    times = flow.schedule(8)
    assert times[0] == 0
    assert times[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(times))
    assert flow.schedule(8, 1872)[4] < times[4]


def test_a_schedule_that_begins_later_has_fewer_steps() -> None:
    times = flow.schedule(8, begin=0.5)
    assert times[0] == 0.5
    assert times[-1] == 1
    assert len(times) < 9
    assert all(a < b for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_sampler_reaches_what_a_perfect_denoiser_knows(steps: int) -> None:
    clean = torch.full((1, 1, 2, 2, 2), 0.7)
    result = flow.sample(lambda _state, _time, _then: clean, torch.randn(1, 1, 2, 2, 2), flow.schedule(steps))
    assert torch.allclose(result, clean)


def test_more_steps_come_closer_to_the_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, 1, 1, 1, 1, generator=generator)

    def ideal(state: torch.Tensor, time: float, _then: float) -> torch.Tensor:  # the data are normal with deviation 0.5
        return 0.25 * time * state / (0.25 * time**2 + (1 - time) ** 2)

    errors = [abs(flow.sample(ideal, noise, flow.schedule(steps)).std().item() - 0.5) for steps in (2, 8, 32)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_noise_depends_on_seed_window_and_frame_alone() -> None:
    shape = (16, 4, 6)
    base = flow.noise_of(1, 0, 0, shape)
    assert torch.equal(base, flow.noise_of(1, 0, 0, shape))
    assert not any(torch.equal(base, flow.noise_of(*key, shape)) for key in ((2, 0, 0), (1, 1, 0), (1, 0, 1)))
    assert flow.noise_of(2**63 - 1, 9, 6, shape).isfinite().all()
