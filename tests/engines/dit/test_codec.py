"""The video autoencoder."""

from __future__ import annotations

import pytest
import torch

from engines.dit.checkpoint import Checkpoint
from engines.dit.codec import Codec, from_blocks, to_blocks

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def codec(networks: Checkpoint) -> Codec:
    return networks.codec


def video(frames: int, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(2, frames, 3, height, width, generator=torch.Generator().manual_seed(frames))


@torch.no_grad()
def test_one_and_4k_frames_make_one_and_k_latent_frames_and_back(codec: Codec) -> None:
    for frames in (1, 5, 13):
        latents = codec.encode(video(frames))
        assert latents.shape == (2, 1 + frames // 4, 16, 4, 6)
        assert codec.decode(latents).shape == (2, frames, 3, 32, 48)


@torch.no_grad()
def test_the_past_does_not_see_the_future(codec: Codec) -> None:
    clip = video(13)
    changed = clip.clone()
    changed[:, 9:] = 0.5
    assert torch.equal(codec.encode(clip)[:, :3], codec.encode(changed)[:, :3])
    latents = codec.encode(clip)
    other = latents.clone()
    other[:, 3:] = 0
    assert torch.equal(codec.decode(latents)[:, :9], codec.decode(other)[:, :9])
    assert not torch.equal(codec.decode(latents)[:, 9:], codec.decode(other)[:, 9:])


@torch.no_grad()
def test_decoding_piece_by_piece_is_bit_equal_to_decoding_the_whole(codec: Codec) -> None:
    latents = codec.encode(video(17))
    pieces = list(codec.decode_stream(iter(latents.split(1, dim=1))))
    assert [piece.shape[1] for piece in pieces] == [1, 4, 4, 4, 4]
    assert torch.equal(torch.cat(pieces, dim=1), codec.decode(latents))


@torch.no_grad()
def test_training_decodes_the_same_video_up_to_rounding(codec: Codec) -> None:
    latents = codec.encode(video(13))
    assert torch.allclose(codec.decode_at_once(latents).clamp(0, 1), codec.decode(latents), atol=1e-5)


def test_blocks_and_frames_are_the_same_pixels() -> None:
    clip = video(9)
    assert torch.equal(from_blocks(to_blocks(clip))[:, 3:], clip)


@torch.no_grad()
def test_principal_components_are_a_usable_beginning() -> None:
    codec = Codec()
    ramp = torch.linspace(0, 1, 32).view(1, 1, 1, 1, 32).expand(1, 9, 3, 32, 32) * torch.rand(
        24, 1, 3, 1, 1, generator=torch.Generator().manual_seed(1)
    )
    codec.begin(ramp)
    assert (codec.decode(codec.encode(ramp)) - ramp).square().mean() < 1e-3
