"""API keys: ``sk_kinema_`` + 43 random characters + a 6-character checksum that secret scanners can test."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib
from datetime import timedelta
from enum import StrEnum

from domain.fields import Field, Fields

PREFIX = "sk_kinema_"
ADMIN_PREFIX = "sk_kinadm_"
_ALPHABET = string.digits + string.ascii_letters
_RANDOM, _CHECKSUM = 43, 6  # 43 base62 characters carry 256 bits

OVERLAP = timedelta(days=1)  # for which a replaced key goes on working, unless told otherwise
LONGEST_OVERLAP = timedelta(days=7)


class Scope(StrEnum):
    """What a tenant's key may be limited to. A key without scopes may do all of it."""

    VIDEOS_READ = "videos:read"  # videos, their content and progress, characters
    VIDEOS_WRITE = "videos:write"  # create, change, cancel and delete them; batches
    FILES = "files"
    WEBHOOKS = "webhooks"
    USAGE = "usage"


API_KEY: Fields = {
    "name": Field("text", "What the key is for.", 1, 256),
    "scopes": Field("names", "What the key may do; empty: all that its tenant may.", choices=tuple(Scope)),
    "expires_in": Field("integer", "Seconds until the key ends by itself; null: never.", 1, optional=True),
}
ROTATION: Fields = {
    "overlap_seconds": Field(
        "integer", "How long the old key goes on working; a day.", 0, LONGEST_OVERLAP.total_seconds()
    ),
}


def issue(prefix: str = PREFIX) -> str:
    """A new key. It is shown once and never stored."""
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _checksum(body)


def well_formed(key: str) -> bool:
    """Whether prefix, length and checksum hold; no database is asked."""
    body, checksum = key[:-_CHECKSUM], key[-_CHECKSUM:]
    right_length = len(key) == len(PREFIX) + _RANDOM + _CHECKSUM
    return right_length and key.startswith((PREFIX, ADMIN_PREFIX)) and checksum == _checksum(body)


def digest(key: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 under the server's pepper: what is stored and looked up."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).digest()


def hint(key: str) -> str:
    """What may be shown later."""
    return f"{key[: len(PREFIX)]}…{key[-4:]}"


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
