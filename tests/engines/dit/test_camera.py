"""Places in the scene: what the renderer draws at one place, attention finds at one place, however the camera moves."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from engines.dit import flow
from engines.dit.camera import PAN, REACH, REST, ZOOM, agreed, panned, views, zoomed
from engines.dit.checkpoint import Checkpoint
from engines.dit.conditioning import FPS, Window, controls
from engines.dit.data.canvas import Canvas
from engines.dit.data.director import MOVES, camera_for
from engines.dit.lessons import Lesson
from engines.dit.model import SPAN, place_of
from engines.dit.takes import Take
from engines.dit.train_transformer import Pool, batch_of, fill, middles
from engines.dit.windows import Stretch, longest

NO_TEXT = torch.zeros(1, 1, 1), torch.zeros(1, 1)


def test_cameras_ease_out() -> None:
    t = torch.tensor([0.0, 0.01, 1000.0])
    assert panned(PAN, t, 0.9).tolist() == pytest.approx([0, 0.01 * PAN, REACH * 0.9], rel=1e-3)
    assert zoomed(-ZOOM, t).tolist() == pytest.approx([0, -0.01 * ZOOM, -REST * ZOOM], rel=1e-3)


@pytest.mark.parametrize("move", ["", *MOVES])
@pytest.mark.parametrize("size", [(144, 256), (256, 144)])
def test_places_are_those_of_the_scene_that_is_drawn(move: str, size: tuple[int, int]) -> None:
    """The middle of each token, as the model and as the renderer say where it is."""
    camera, (height, width) = camera_for(Random(1), move), size
    times = torch.tensor([0.0, 0.5, 2.0, 7.0])
    numbers = {"pan_u": camera.pan_u, "pan_v": camera.pan_v, "zoom": camera.zoom, "pace": 2.0}
    board = Canvas.at(times, height // 16, width // 16).filmed({k: torch.tensor(v) for k, v in numbers.items()})
    view_LV = views(camera.way, times, width / min(size) / 2)
    window = replace(Window.of((4, 16, height // 8, width // 8), controls(FPS)), view_BLV=view_LV[None])
    still = Window.of((4, 16, height // 8, width // 8), controls(FPS))
    head = 12  # two pairs of features each for time, height and width, the first of them at full speed
    turned, at_rest = (place_of(each, height // 8, width // 8, head) for each in (window, still))
    shape = (4, height // 16, width // 16)
    x, y = (turned.sine_B1KE[0, 0, :, index].view(shape) for index in (4, 2))
    assert torch.allclose(x, torch.sin(SPAN * board.u.expand(1, *shape)[0]), atol=1e-4)
    assert torch.allclose(y, torch.sin(SPAN * board.v.expand(1, *shape)[0]), atol=1e-4)
    assert torch.equal(turned.features_BLSF, at_rest.features_BLSF) == (move == "")


def test_a_take_tells_windows_what_its_camera_shows() -> None:
    take = Take(49, 12, NO_TEXT, None, "", camera=(0.5, -1.0))
    frames, shape = [0.0, 2.5, 12.0, -3.0], (16, 18, 32)
    seen = take.views(frames, shape)
    assert torch.equal(seen, views((0.5, -1.0), torch.tensor(frames) / 12, 32 / 18 / 2))
    assert seen[0].tolist() == seen[3].tolist() == [0, 0]
    assert torch.equal(replace(take, begin=12).views([0.0], shape)[0], seen[2])


@pytest.mark.parametrize("kind", ["start", "later", "keyed", "between", "anchors"])
def test_lessons_tell_where_the_camera_is_when_a_latent_frame_is_shown(kind: str, networks: Checkpoint) -> None:
    lesson = Lesson((80, 144), 3, kind, 0.25 if kind == "anchors" else 12.0)
    pool = Pool([])
    while not any(each.clip.camera.way[0] for each in pool.examples):
        fill(pool, networks.codec, lesson, 2, Random(len(pool.examples)))
    pool.examples = [each for each in pool.examples if each.clip.camera.way[0]][:1]
    batch = batch_of(pool, networks.vocabulary, lesson, Random(3))
    told_B = batch.window.controls_BC[:, -2] != 0
    assert told_B.any()
    (example,) = pool.examples
    expected = views(example.clip.camera.way, example.seconds_L, 0.9)
    assert torch.equal(batch.window.view_BLV[told_B][0], expected)
    assert example.seconds_L.shape == example.at_L.shape
    if kind not in ("later", "anchors"):
        assert example.seconds_L[:3].tolist() == pytest.approx([0, 2.5 / 12, 6.5 / 12])


def scene(view_LV: torch.Tensor, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents_LZhw of waves that stand still in the scene, as the camera shows them: true ones, and noisy guesses."""
    x, y = (torch.arange(32) + 0.5 - 16) / 18, (torch.arange(18) + 0.5 - 9)[:, None] / 18
    pan, zoom = (part[:, None, None] for part in view_LV.unbind(-1))
    u, v = x * torch.exp(-zoom) + pan, y * torch.exp(-zoom)
    true = torch.stack([torch.sin(4 * u + phase) + torch.cos(5 * v - phase) for phase in (0.0, 1.0)], 1)
    return true, true + noise * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("way", [(1.0, 0.0), (-0.5, 0.0), (0.0, 1.0), (0.0, -0.7)])
def test_guesses_agree_about_what_a_camera_shows(way: tuple[float, float]) -> None:
    at_L = torch.arange(7.0)
    view_LV = views(way, at_L * 4 / 6, 32 / 18 / 2)
    true, guess = scene(view_LV, 0.5)
    fused = agreed(guess, view_LV, at_L)
    assert (fused - true).square().mean() < 0.45 * (guess - true).square().mean()
    right = agreed(true, view_LV, at_L)
    assert (right - true).abs().mean() < 0.05
    wrong = agreed(true, views((-way[0], -way[1]), at_L * 4 / 6, 32 / 18 / 2), at_L)
    assert (wrong - true).abs().mean() > 3 * (right - true).abs().mean()


def test_far_moments_have_no_say() -> None:
    view_LV = views((1.0, 0.0), torch.tensor([0.0, 40.0]), 0.9)
    guess = torch.stack([torch.zeros(2, 6, 10), torch.ones(2, 6, 10)])
    assert torch.allclose(agreed(guess, view_LV, torch.tensor([0.0, 120.0])), guess, atol=1e-6)


def test_a_walk_agrees_early_and_only_behind_a_moving_camera(networks: Checkpoint) -> None:
    text = networks.transformer.text(networks.vocabulary.encode([["lake"]]))
    still = Window.of((3, 16, 6, 10), controls(12.0)).know(1, torch.ones(16, 6, 10))
    moving = replace(still, view_BLV=views((1.0, 0.0), torch.arange(3.0), 5 / 6)[None])
    state = torch.randn(1, 3, 16, 6, 10, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def guess(window: Window, time: float) -> tuple[torch.Tensor, torch.Tensor]:
        said = flow.Guided(networks.transformer, text, window, 1.0)(state, time, 1.0)
        alone = networks.transformer(state, window, torch.tensor([time]), text)
        return said, window.kept(alone)

    early, alone = guess(moving, 0.1)
    assert not torch.allclose(early, alone, atol=1e-3)
    assert torch.equal(early[:, 1], alone[:, 1])
    for window, time in ((moving, flow.SETTLED), (still, 0.1)):
        said, alone = guess(window, time)
        assert torch.equal(said, alone)


def test_the_middle_of_a_latent_frame_is_between_its_frames() -> None:
    assert [Stretch(9).middle(latent) for latent in (0, 1, 2)] == [0, 2.5, 6.5]
    assert [Stretch(8, opens=False).middle(latent) for latent in (-1, 0, 1)] == [-2.5, 1.5, 5.5]
    assert middles(3, 6.0).tolist() == pytest.approx([0, 2.5 / 6, 6.5 / 6])
    assert longest(3) == 9
