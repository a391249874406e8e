"""What an operator reads when an entry of models.toml cannot be served, or a plan cannot be drawn."""

from __future__ import annotations

from engines.protocol import Unrenderable


class Refused(ValueError):
    """The folder, the entry or its options are not fit to be served; the message says what to do."""


class OutOfMemory(Unrenderable):
    """The clip does not fit, even after a second attempt with less in memory; the message says what to change."""


class NotFinite(Unrenderable):
    """What was drawn has pixels that are no numbers; shown, they would be a black clip."""

    def __init__(self) -> None:
        super().__init__(
            "decoded frames are not finite: some number has left the range of its type. With option dtype = float16, "
            "take bfloat16 or float32, since text encoders like T5 do not fit into it; otherwise the weights are broken"
        )
