"""Secrets that must be read again, encrypted at rest: AES-256-GCM with the id of its key beside each value."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12  # bytes, random; one key may seal 2^32 values


class UnreadableSecret(Exception):
    """No key opens the value: its key is not configured, or the value is not the one that was sealed here."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted secret: the nonce, then the ciphertext with its tag."""

    ciphertext: bytes
    key_id: str


def seal(secret: str, keys: Mapping[str, bytes], owner: UUID) -> Sealed:
    """Encrypt with the first key. The value opens for the same owner only, so it cannot be moved to another row."""
    key_id, key = next(iter(keys.items()))
    nonce = secrets.token_bytes(_NONCE)
    return Sealed(nonce + AESGCM(key).encrypt(nonce, secret.encode(), owner.bytes), key_id)


def unseal(sealed: Sealed, keys: Mapping[str, bytes], owner: UUID) -> str:
    """The secret in the clear. Raises UnreadableSecret."""
    key = keys.get(sealed.key_id)
    if key is None:
        raise UnreadableSecret(f"the encryption key {sealed.key_id!r} is not configured")
    nonce, ciphertext = sealed.ciphertext[:_NONCE], sealed.ciphertext[_NONCE:]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, owner.bytes).decode()
    except (InvalidTag, ValueError) as error:
        raise UnreadableSecret(f"the encryption key {sealed.key_id!r} does not open this value") from error
