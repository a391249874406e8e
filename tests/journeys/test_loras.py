"""An adapter that a request names bends the file that comes back, and nothing of it stays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest
import torch

from engines.dit import checkpoint as checkpoints
from engines.dit import lora
from tests.journeys.conftest import FAST_LEASES
from tests.journeys.system import System, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MODELS = """
[[model]]
name = "kinema-dit"
engine = "dit"
path = "{weights}"
pool = "small"
aliases = []
seconds = [1]
fps = 12
rendered_fps = 12
steps = [1, 2, 8]
guidance = 1.0
capabilities = ["text", "loras"]
price_micros = 1
cost_ms = 1
sizes = {{ "128x80" = "128x80" }}
loras = {{ ink = "loras/ink.safetensors" }}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("loras")
    (folder / "models.toml").write_text(MODELS.format(weights=checkpoints.WEIGHTS))
    bend(folder / "loras" / "ink.safetensors")
    environment = {**FAST_LEASES, "KINEMA_MODELS_FILE": str(folder / "models.toml")}
    with running(folder / "data", "--model", "kinema-dit", environment=environment) as up:
        yield up


def bend(path: Path) -> None:
    """An adapter that changes every layer a little, at random."""
    networks, generator = checkpoints.load(), torch.Generator().manual_seed(0)
    pairs = {
        name: (
            torch.randn(2, layer.in_features, generator=generator) * 0.1,
            torch.randn(layer.out_features, 2, generator=generator) * 0.1,
        )
        for name, layer in lora.layers(networks.transformer).items()
    }
    path.parent.mkdir()
    lora.save(lora.Adapter(pairs, 2.0, networks.config, networks.sha256, "", {}), path)


def frames_of(system: System, **asked: Any) -> np.ndarray:
    with system.client() as client:
        video = client.videos.create_and_poll(
            prompt="a red ball rolls left",
            model="kinema-dit",
            size="128x80",
            seconds="1",
            extra_body={"seed": 7, **asked},
        )
        assert video.status == "completed", video.error
        data = client.videos.download_content(video.id).content
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_an_adapter_bends_the_clip_and_leaves_the_next_one_alone(system: System) -> None:
    plain = frames_of(system)
    bent = frames_of(system, loras=[{"name": "ink", "weight": 1.0}])
    assert np.abs(bent.astype(int) - plain).mean() > 2, "levels of 256"
    assert np.array_equal(frames_of(system), plain)


def test_an_adapter_that_nobody_offers_is_refused(system: System) -> None:
    with pytest.raises(openai.BadRequestError, match="ink") as caught:
        frames_of(system, loras=[{"name": "sepia"}])
    assert caught.value.param == "loras[0].name"
