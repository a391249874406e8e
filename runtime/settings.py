"""Settings: `KINEMA_*` variables, read once at the edge, grouped and frozen.

Each field is documented in .env.example (a test keeps it complete). `KINEMA_X_FILE` names a file that holds the
value of `KINEMA_X`, as container secrets do. Unsafe values refuse to start with `KINEMA_ENV=production`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints


class InvalidSettings(Exception):
    """A variable is missing, malformed or unsafe; the message says which and what to do."""


class Secret(str):
    """Text that never shows itself in a log or a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


_UNSET = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every variable, by its name in lower case without the prefix."""

    env: str = "development"  # development or production
    database_url: Secret  # the login role's; see storage.bootstrap
    owner_database_url: Secret = _UNSET  # the schema owner's; only `kinema migrate` needs it
    redis_url: Secret
    s3_endpoint_url: str = ""  # empty: the provider's own
    s3_public_url: str = ""  # set: downloads are redirected to presigned links under it
    s3_access_key: Secret
    s3_secret_key: Secret
    s3_bucket: str = "kinema"
    s3_region: str = "us-east-1"
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    key_pepper: Secret  # HMAC key of the API keys
    key_pepper_id: str = "1"
    webhook_key: Secret  # base64, 32 bytes: encrypts webhook secrets at rest
    webhook_key_id: str = "1"
    webhook_allow_loopback: bool = False  # http to this machine as a target; never in production
    moderation_url: str = "http://127.0.0.1:8001"
    moderator_host: str = "127.0.0.1"
    moderator_port: int = 8001
    moderation_timeout_seconds: float = 10.0
    provenance_cert_file: str = ""  # PEM chain, leaf first
    provenance_key_file: str = ""  # PEM private key of the leaf
    provenance_root_file: str = ""  # PEM root that verifiers of this installation trust
    models_file: str = "models.toml"
    testcard: bool = False  # offer the test card as a model
    testcard_step_seconds: float = 0.0
    lease_seconds: float = 30.0
    beat_seconds: float = 5.0
    cancel_poll_seconds: float = 0.5
    reap_seconds: float = 5.0
    hint_seconds: float = 1.0
    snapshot_seconds: float = 2.0
    sweep_grace_seconds: float = 60.0
    stall_seconds: float = 120.0  # a stage that makes no progress for so long loses its lease
    grace_seconds: float = 15.0  # what a stopping worker may still spend on the video in hand
    queue_timeout_seconds: int = 86_400
    max_upload_bytes: int = 33_554_432
    work_dir: str = ""  # where drafts lie until they are uploaded; empty: the system's temporary folder
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if self.env not in {"development", "production"}:
            raise InvalidSettings("KINEMA_ENV must be development or production.")
        if len(base64.b64decode(self.webhook_key)) != 32:
            raise InvalidSettings("KINEMA_WEBHOOK_KEY must be 32 bytes in base64.")
        if not 0 < self.beat_seconds * 2 <= self.lease_seconds:
            raise InvalidSettings("KINEMA_LEASE_SECONDS must be at least twice KINEMA_BEAT_SECONDS.")
        if self.env == "production":
            self._refuse_unsafe()

    def _refuse_unsafe(self) -> None:
        if self.webhook_allow_loopback:
            raise InvalidSettings("KINEMA_WEBHOOK_ALLOW_LOOPBACK is for development; unset it in production.")
        if self.testcard:
            raise InvalidSettings("KINEMA_TESTCARD is for tests; unset it in production.")
        if len(self.key_pepper) < 32:
            raise InvalidSettings("KINEMA_KEY_PEPPER must have at least 32 characters in production.")

    @property
    def webhook_keys(self) -> dict[str, bytes]:
        """Encryption keys by id."""
        return {self.webhook_key_id: base64.b64decode(self.webhook_key)}

    @property
    def peppers(self) -> dict[str, bytes]:
        """HMAC keys by id."""
        return {self.key_pepper_id: self.key_pepper.encode()}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises InvalidSettings that names every variable that is missing."""
    source = os.environ if environment is None else environment
    types = get_type_hints(Settings)
    values: dict[str, Any] = {}
    missing: list[str] = []
    for field in fields(Settings):
        variable = variable_of(field.name)
        text = _read(source, variable)
        if text is not None:
            values[field.name] = _convert(variable, text, types[field.name])
        elif _required(field.name):
            missing.append(variable)
    if missing:
        raise InvalidSettings(f"Set {', '.join(missing)} (each may also be given as a file: {missing[0]}_FILE).")
    return Settings(**values)


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return f"KINEMA_{field.upper()}"


def _required(name: str) -> bool:
    return name in {"database_url", "redis_url", "s3_access_key", "s3_secret_key", "key_pepper", "webhook_key"}


def _read(source: Mapping[str, str], variable: str) -> str | None:
    text = source.get(variable)
    path = source.get(f"{variable}_FILE") if not variable.endswith("_FILE") else None
    if text is None and path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise InvalidSettings(f"{variable}_FILE cannot be read: {error.strerror}.") from error
    return text


def _convert(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in {"true", "false", "1", "0", ""}:
            raise InvalidSettings(f"{variable} must be true or false.")
        return text.lower() in {"true", "1"}
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidSettings(f"{variable} must be a {kind.__name__}.") from error
