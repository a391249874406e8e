"""What an operator reads when an entry of models.toml cannot be served, or a plan cannot be drawn."""

from __future__ import annotations

from engines.protocol import Unrenderable


class Refused(ValueError):
    """The folder, the entry or its options are not fit to be served; the message says what to do."""


class OutOfMemory(Unrenderable):
    """The clip does not fit, even after a second attempt with less in memory; the message says what to change."""
