"""Small untrained networks, one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from domain.video import Plan, Size
from engines.dit.checkpoint import Checkpoint, fresh
from engines.dit.config import CodecConfig, Config, TextConfig, TransformerConfig
from engines.dit.engine import DitEngine

SMALL = Config(
    CodecConfig(encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1),
    TextConfig(width=48, depth=1, heads=3, buckets=64),
    TransformerConfig(width=48, depth=2, heads=1),
)
WORDS = ["a", "ball", "blue", "green", "lake", "left", "mountain", "over", "red", "right", "rolls", "sunset", "the"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def networks() -> Checkpoint:
    """Untrained, but with every zero-initialised layer woken, so that every input matters."""
    checkpoint = fresh(SMALL, WORDS, seed=1)
    generator = torch.Generator().manual_seed(2)
    for network in (checkpoint.codec, checkpoint.transformer):
        for weight in network.parameters():
            if not weight.detach().any():
                weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return checkpoint


@pytest.fixture(scope="session")
def engine(networks: Checkpoint) -> DitEngine:
    return DitEngine(networks)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        model="kinema-dit", prompt="a red ball rolls left", seconds=1, rendered=Size(64, 48), rendered_fps=6,
        delivered=Size(64, 48), fps=12, seed=7, steps=2, guidance=3.0,
    )  # fmt: skip
