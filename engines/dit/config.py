"""The sizes of the networks. A checkpoint carries its own copy, so old weights keep loading when defaults change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """The video autoencoder: 8x8 pixels and 4 frames become one latent position of `channels` numbers."""

    channels: int = 16
    encoder_width: int = 64  # at a quarter of the resolution; twice that at an eighth
    encoder_blocks: int = 2
    decoder_width: int = 80
    decoder_blocks: int = 2


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The caption encoder."""

    width: int = 192
    depth: int = 2
    heads: int = 3
    buckets: int = 512  # hashed letter triples, for words outside the vocabulary
    length: int = 32  # words kept of a prompt


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The denoiser."""

    width: int = 192
    depth: int = 6
    heads: int = 3
    short_side: int = 144  # pixels: the largest pictures that it was trained to lay out; larger ones are scaled up
    window: int = 7  # latent frames denoised together: 25 frames, 4 s at 6 frames a second
    controls: int = 9  # numbers that steer; see conditioning.controls
    distilled: bool = False  # two more: how strongly it is guided and how far it steps; see conditioning.hurried


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a checkpoint needs to rebuild the networks."""

    codec: CodecConfig = field(default_factory=CodecConfig)
    text: TextConfig = field(default_factory=TextConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Config:
        """The inverse of `to_json`."""
        return cls(
            CodecConfig(**stored["codec"]),
            TextConfig(**stored["text"]),
            TransformerConfig(**stored["transformer"]),
        )


SIZES = {
    "small": Config(),  # 4.7M: what two processor cores can train
    "medium": Config(text=TextConfig(width=256, depth=3, heads=4), transformer=TransformerConfig(320, 10, 5)),  # 19M
}
