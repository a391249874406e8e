"""With the committed weights: sixteen clips of a look and ninety seconds bend what the model draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from domain.video import Lora, Plan, Size
from engines.dit import checkpoint as checkpoints
from engines.dit import lora_lessons, train_lora
from engines.dit.data import HELD_OUT, clip, draw, seconds
from engines.dit.engine import DitEngine
from engines.dit.train_lora import Recipe
from engines.encode import encode
from engines.protocol import Conditions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIPS, MINUTES, FPS = 16, 1.5, 6
HEIGHT, WIDTH = 72, 128  # of the clips on disk
GREY, TONE = torch.tensor([0.299, 0.587, 0.114]), torch.tensor([1.0, 0.78, 0.55])


def sepia(video_TCHW: Tensor) -> Tensor:
    grey_T1HW = (video_TCHW * GREY[:, None, None]).sum(1, keepdim=True)
    return (grey_T1HW * TONE[:, None, None]).clamp(0, 1)


def material(folder: Path) -> Path:
    """Scenes of the renderer as old photographs."""
    folder.mkdir()
    plan = Plan(
        model="kinema-dit", prompt="", seconds=4, rendered=Size(WIDTH, HEIGHT), rendered_fps=FPS,
        delivered=Size(WIDTH, HEIGHT), fps=FPS, seed=1, steps=1, guidance=1.0,
    )  # fmt: skip
    for number in range(CLIPS):
        one = clip(HELD_OUT + 777 + number, "shapes" if number % 2 else None)
        video_TCHW = draw([one], seconds(plan.rendered_frames, FPS), HEIGHT, WIDTH)[0][0]
        frames_THWC = (sepia(video_TCHW) * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        drafts = folder / f"drafts-{number}"
        drafts.mkdir()
        encode([frames_THWC], plan, drafts, lambda _done, _total: None).video.rename(folder / f"{number}.mp4")
        (folder / f"{number}.txt").write_text(one.caption)
    return folder


def drawn(engine: DitEngine, *loras: Lora) -> Tensor:
    size = lora_lessons.sizes(engine._networks.config.transformer.short_side)[0]
    plan = Plan(
        model="kinema-dit", prompt="a red ball rolls left", seconds=4, rendered=size, rendered_fps=FPS, delivered=size,
        fps=FPS, seed=1, steps=8, guidance=2.0, loras=loras,
    )  # fmt: skip
    frames_THWC = np.concatenate(list(engine.render(plan, Conditions(), lambda _: None)))
    return torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 255


def test_sixteen_clips_of_a_look_bend_the_committed_model(tmp_path: Path) -> None:
    networks = checkpoints.load()
    before = {name: value.clone() for name, value in networks.transformer.state_dict().items()}
    made = train_lora.train(
        material(tmp_path / "clips"), networks, tmp_path / "sepia.safetensors", Recipe(minutes=MINUTES, fps=FPS)
    )
    print(dict(made.card))
    assert all(torch.equal(value, before[name]) for name, value in networks.transformer.state_dict().items())
    held_out = made.card["loss_on_held_out_clips"]
    assert held_out["adapted"] < 0.8 * held_out["base"]

    engine = DitEngine(replace(networks, sha256=made.base), {"sepia": made})
    plain = drawn(engine)
    wanted = sepia(plain).mean((0, 2, 3))
    distances = [
        (drawn(engine, Lora("sepia", weight)).mean((0, 2, 3)) - wanted).norm().item() for weight in (0.0, 0.5, 1.0)
    ]
    print("mean colour of 'a red ball rolls left' to its sepia at weights 0, 0.5, 1:", distances)
    assert distances[0] == pytest.approx((plain.mean((0, 2, 3)) - wanted).norm().item()), "no weight, no change"
    assert distances[2] < 0.6 * distances[0]
    assert distances[2] < distances[1] < distances[0]
