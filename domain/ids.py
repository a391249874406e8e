"""Identifiers: UUIDv7 inside (RFC 9562 section 5.7), prefixed hex at the edge (``video_0198…``).

Later ids compare greater, so the order of ids is the order of creation.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Kind(StrEnum):
    """What an id names; the value is the public prefix."""

    VIDEO = "video"
    TENANT = "tenant"
    KEY = "key"
    EVENT = "evt"
    WEBHOOK_ENDPOINT = "whe"
    REQUEST = "req"
    FILE = "file"
    CHARACTER = "char"
    BATCH = "batch"
    ADMIN_KEY = "adm"
    AUDIT_ENTRY = "aud"


class InvalidId(ValueError):
    """The text is not an id of the kind that was expected."""


def new_id(at_ns: int | None = None) -> UUID:
    """A UUIDv7: 48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits."""
    milliseconds, rest = divmod(time.time_ns() if at_ns is None else at_ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return UUID(int=value)


def earliest(at: datetime) -> UUID:
    """Ids made before that moment compare less, those made from it on greater."""
    return UUID(int=new_id(int(at.timestamp() * 1000) * 1_000_000).int >> 80 << 80)


def public(kind: Kind, value: UUID) -> str:
    """The form that users see."""
    return f"{kind}_{value.hex}"


def parse(kind: Kind, text: str) -> UUID:
    """The inverse of `public`. Raises InvalidId for any other text."""
    prefix, _, digits = text.partition("_")
    if prefix != kind or len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        raise InvalidId(f"not a {kind} id: {text!r}")
    return UUID(hex=digits)
