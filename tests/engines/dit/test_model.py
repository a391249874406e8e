"""The denoiser and its noise."""

from __future__ import annotations

import itertools

import pytest
import torch

from engines.dit import flow
from engines.dit.checkpoint import Checkpoint
from engines.dit.model import from_tokens, place_of, to_tokens


def inputs(latents: int = 3, height: int = 4, width: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    noisy, known = (torch.randn(2, latents, 16, height, width, generator=generator) for _ in range(2))
    mask = torch.zeros(2, latents)
    mask[1, 0] = 1
    return noisy, known * mask[:, :, None, None, None], mask, torch.tensor([0.2, 0.7])


@torch.no_grad()
def test_it_answers_in_the_shape_of_its_latents(networks: Checkpoint) -> None:
    model, vocabulary = networks.transformer, networks.vocabulary
    text = model.text(vocabulary.encode([["red", "ball"], []]))
    for latents, height, width in ((3, 4, 6), (1, 6, 4), (7, 2, 2)):
        noisy, known, mask, time = inputs(latents, height, width)
        assert model(noisy, known, mask, time, text).shape == noisy.shape


@torch.no_grad()
def test_noise_under_a_known_latent_frame_is_not_seen(networks: Checkpoint) -> None:
    model = networks.transformer
    text = model.text(networks.vocabulary.encode([[], []]))
    noisy, known, mask, time = inputs()
    other = noisy.clone()
    other[1, 0] += 1
    assert torch.equal(model(noisy, known, mask, time, text), model(other, known, mask, time, text))
    other[0, 0] += 1
    assert not torch.equal(model(noisy, known, mask, time, text), model(other, known, mask, time, text))


@torch.no_grad()
def test_time_prompt_and_known_latents_all_matter(networks: Checkpoint) -> None:
    model, vocabulary = networks.transformer, networks.vocabulary
    noisy, known, mask, time = inputs()
    red, blue = (model.text(vocabulary.encode([[colour, "ball"], [colour]])) for colour in ("red", "blue"))
    base = model(noisy, known, mask, time, red)
    assert not torch.equal(base, model(noisy, known, mask, time, blue))
    assert not torch.equal(base, model(noisy, known, mask, time * 0.5, red))
    assert not torch.equal(base[1], model(noisy, known + mask[:, :, None, None, None], mask, time, red)[1])
    assert not torch.equal(base, model(noisy, known, mask, time, red, start=1))


def test_tokens_and_latents_are_the_same_numbers() -> None:
    noisy = inputs()[0]
    assert torch.equal(from_tokens(to_tokens(noisy), 4, 6), noisy)


def test_places_are_centred_and_measured_in_short_sides() -> None:
    small, large = (place_of(0, 1, height, width, 64).features_LSF[0] for height, width in ((8, 14), (16, 28)))
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


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_sampler_reaches_what_a_perfect_denoiser_knows(steps: int) -> None:
    clean = torch.full((1, 1, 2, 2, 2), 0.7)
    result = flow.sample(lambda _state, _time: clean, torch.randn(1, 1, 2, 2, 2), steps)
    assert torch.allclose(result, clean)


def test_more_steps_come_closer_to_the_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, 1, 1, 1, 1, generator=generator)

    def ideal(state: torch.Tensor, time: float) -> torch.Tensor:  # the data are normal with deviation 0.5
        return 0.25 * time * state / (0.25 * time**2 + (1 - time) ** 2)

    errors = [abs(flow.sample(ideal, noise, steps).std().item() - 0.5) for steps in (2, 8, 32)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_noise_depends_on_seed_window_and_frame_alone() -> None:
    shape = (16, 4, 6)
    base = flow.noise_of(1, 0, 0, shape)
    assert torch.equal(base, flow.noise_of(1, 0, 0, shape))
    assert not any(torch.equal(base, flow.noise_of(*key, shape)) for key in ((2, 0, 0), (1, 1, 0), (1, 0, 1)))
    assert flow.noise_of(2**63 - 1, 9, 6, shape).isfinite().all()
