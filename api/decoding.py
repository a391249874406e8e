"""The decoder as requests share it: no tenant takes all of its places."""

from __future__ import annotations

from uuid import UUID

from api.turns import Crowd, Room, Turns
from moderation.media.decoder import CLIP_PLACES, PLACES, Clip, Decoder, Picture, Unreadable, clip_limits

PICTURES = Room(PLACES, PLACES - 1, waiting=4, patience_seconds=2.0)
CLIPS = Room(CLIP_PLACES, CLIP_PLACES - 1, waiting=1, patience_seconds=5.0)
_BUSY = "Too many files are being decoded at the moment."


class Decoding:
    """One decoder for all threads of the process."""

    def __init__(self, crowd: Crowd) -> None:
        self._decoder = Decoder()
        self._pictures = Turns(PICTURES, _BUSY, crowd)
        self._clips = Turns(CLIPS, _BUSY, crowd)

    def picture(self, tenant_id: UUID, content: bytes, size: tuple[int, int] | None) -> Picture | Unreadable:
        """The picture made anew, of exactly `size` if one is given. Raises Unavailable."""
        with self._pictures.of(tenant_id):
            return self._decoder.picture(content, size)

    def clip(self, tenant_id: UUID, content: bytes, most_seconds: float) -> Clip | Unreadable:
        """The clip made anew. Raises Unavailable."""
        with self._clips.of(tenant_id):
            return self._decoder.clip(content, clip_limits(most_seconds))

    def close(self) -> None:
        """End what is at work."""
        self._decoder.close()
