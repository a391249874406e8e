"""Passwords and keys of one data directory: drawn once, kept in a file of mode 0600."""

from __future__ import annotations

import base64
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from infra.embedded.private import private_directory, read_json, write_private_json


@dataclass(frozen=True, slots=True)
class Credentials:
    """Every secret that the embedded stack draws for itself."""

    postgres_owner: str
    postgres_app: str
    valkey: str
    s3_access_key: str
    s3_secret_key: str
    s3_kek: str  # 64 hex digits: wraps the keys of server-side encryption
    key_pepper: str  # goes into the HMAC of every API key
    webhook_key: str  # base64 of 32 bytes: encrypts webhook secrets at rest

    @classmethod
    def draw(cls) -> Self:
        """Fresh random values."""
        return cls(
            postgres_owner=secrets.token_hex(24),
            postgres_app=secrets.token_hex(24),
            valkey=secrets.token_hex(24),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(24),
            s3_kek=secrets.token_hex(32),
            key_pepper=secrets.token_hex(32),
            webhook_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        )

    @classmethod
    def of(cls, data: Path) -> Self:
        """The secrets of a data directory, drawn on first use; one that is missing is added. Raises OSError."""
        path = private_directory(data / "secrets") / "stack.json"
        names = {field.name for field in fields(cls)}
        kept = {name: value for name, value in read_json(path).items() if name in names}
        if kept.keys() == names:
            return cls(**kept)
        credentials = cls(**{**asdict(cls.draw()), **kept})
        write_private_json(path, asdict(credentials))
        return credentials
