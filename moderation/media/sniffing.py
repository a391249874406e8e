"""What a file seems to be by its first bytes. Needs no decoder, so that anybody may ask."""

from __future__ import annotations

from typing import Literal

HEAD_BYTES = 64
_EBML = b"\x1a\x45\xdf\xa3"
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}


def clip_format(head: bytes) -> Literal["mov", "webm"] | None:
    """The one demuxer that may be asked; None: this is no clip of a kind that is taken."""
    if head[4:8] in _BOXES:
        return "mov"
    if head.startswith(_EBML) and b"webm" in head[:HEAD_BYTES]:
        return "webm"
    return None


def looks_like_a_clip(content: bytes) -> bool:
    """Whether to decode it as a clip rather than as a picture."""
    return clip_format(content[:HEAD_BYTES]) is not None
