"""What a file seems to be by its first bytes. Needs no decoder, so that anybody may ask."""

from __future__ import annotations

import struct
from typing import Literal

HEAD_BYTES = 64
_PNG = b"\x89PNG\r\n\x1a\n"
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


def is_plain_png(content: bytes, width: int, height: int) -> bool:
    """Whether this is RGB of 8 bits in that size, with nothing beside or behind the pixels."""
    names: list[bytes] = []
    at = len(_PNG)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        if not names and content[at + 8 : at + 21] != struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0):
            return False
        names.append(name)
        at += 12 + length
    whole = content.startswith(_PNG) and at == len(content)
    return whole and names[:1] == [b"IHDR"] and set(names[1:-1]) == {b"IDAT"} and names[-1:] == [b"IEND"]


def is_plain_mp4(content: bytes) -> bool:
    """Whether it is made of the boxes that our own muxer writes, and of nothing else."""
    names: list[bytes] = []
    at = 0
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        if length < 8:
            return False
        names.append(name)
        at += length
    return at == len(content) and [name for name in names if name != b"free"] == [b"ftyp", b"mdat", b"moov"]
