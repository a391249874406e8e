"""What a model may be able to do, in the words of models.toml. `catalogue.NEEDS` says which parameter needs which."""

from __future__ import annotations

CAPABILITIES = frozenset(
    {
        "text",
        "first_frame",
        "last_frame",
        "keyframes",
        "video",  # repaint a clip
        "extend",  # go on after a clip's end
        "mask",
        "shots",
        "negative_prompt",
        "style",
        "motion",
        "fps",
        "loras",
        "characters",
    }
)
