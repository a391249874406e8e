"""Settings: `KINEMA_*` variables, read once at the edge, grouped and frozen.

Each field is documented in .env.example (a test keeps it complete). `KINEMA_X_FILE` names a file that holds the
value of `KINEMA_X`, as container secrets do. Unsafe values refuse to start with `KINEMA_ENV=production`. A process
demands only the secrets that it uses: `load` is told which.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Mapping
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
    database_url: Secret = _UNSET  # the login role's; see storage.bootstrap
    owner_database_url: Secret = _UNSET  # the schema owner's; only `kinema migrate` needs it
    redis_url: Secret = _UNSET
    s3_endpoint_url: str = ""  # empty: the provider's own
    s3_public_url: str = ""  # set: downloads are redirected to presigned links under it
    s3_access_key: Secret = _UNSET
    s3_secret_key: Secret = _UNSET
    s3_bucket: str = "kinema"
    s3_region: str = "us-east-1"
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    key_pepper: Secret = _UNSET  # HMAC key of the API keys
    key_pepper_id: str = "1"
    key_peppers: Secret = _UNSET  # several, as ID:PEPPER; the first is for new keys, key_pepper comes last
    webhook_key: Secret = _UNSET  # base64, 32 bytes: encrypts webhook secrets at rest
    webhook_key_id: str = "1"
    webhook_encryption_keys: Secret = _UNSET  # several, as ID:BASE64; in the same way
    webhook_allow_loopback: bool = False  # http to this machine as a target; never in production
    moderation_url: str = "http://127.0.0.1:8001"
    moderator_host: str = "127.0.0.1"
    moderator_port: int = 8001
    moderation_timeout_seconds: float = 10.0
    frame_classifier: str = ""  # module:callable that makes one; empty: nobody looks at frames
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
    sweep_keep_seconds: float = 3600.0  # between the two deletes of an object, so that a late put leaves nothing
    stall_seconds: float = 120.0  # a stage that makes no progress for so long loses its lease
    deaf_seconds: float = 60.0  # an idle worker that hears no hint for so long, while it could work, ends
    overstay_seconds: float = 120.0  # a child that stays so long at a video which it lost is killed
    patience_seconds: float = 600.0  # that a stage waits for a store that is away, before it counts as failed
    grace_seconds: float = 15.0  # what a stopping worker may still spend on the video in hand
    queue_timeout_seconds: int = 86_400
    requests_per_minute: int = 0  # of a tenant that has no limit of its own; 0: as many as it likes
    creates_per_minute: int = 0
    max_upload_bytes: int = 33_554_432
    clip_seconds: int = 120  # longest clip that is taken as an input
    batch_file_bytes: int = 16_777_216  # longest file of purpose batch
    files_quota_bytes: int = 5_368_709_120  # of all files and characters of one tenant
    batch_lines: int = 10_000  # that one batch may have
    batch_videos: int = 32  # of one batch that may be unfinished at once; the other lines wait
    batch_poll_seconds: float = 2.0  # between two looks at a batch that only waits for its videos
    work_dir: str = ""  # where drafts lie until they are uploaded; empty: the system's temporary folder
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if self.env not in {"development", "production"}:
            raise InvalidSettings("KINEMA_ENV must be development or production.")
        if not all(self.peppers.values()):
            raise InvalidSettings("KINEMA_KEY_PEPPERS names a pepper that is empty.")
        if any(len(key) != 32 for key in self.webhook_keys.values()):
            raise InvalidSettings("KINEMA_WEBHOOK_KEY and each of KINEMA_WEBHOOK_ENCRYPTION_KEYS must be 32 bytes.")
        if not 0 < self.beat_seconds * 2 <= self.lease_seconds:
            raise InvalidSettings("KINEMA_LEASE_SECONDS must be at least twice KINEMA_BEAT_SECONDS.")
        if self.env == "production":
            self._refuse_unsafe()

    def _refuse_unsafe(self) -> None:
        if self.webhook_allow_loopback:
            raise InvalidSettings("KINEMA_WEBHOOK_ALLOW_LOOPBACK is for development; unset it in production.")
        if self.testcard:
            raise InvalidSettings("KINEMA_TESTCARD is for tests; unset it in production.")
        if any(len(pepper) < 32 for pepper in self.peppers.values()):
            raise InvalidSettings("KINEMA_KEY_PEPPER must have at least 32 characters in production.")

    @property
    def webhook_keys(self) -> dict[str, bytes]:
        """Encryption keys by id; the first encrypts, all decrypt."""
        several = _several("KINEMA_WEBHOOK_ENCRYPTION_KEYS", self.webhook_encryption_keys)
        single = {self.webhook_key_id: str(self.webhook_key)} if self.webhook_key else {}
        try:
            return {name: base64.b64decode(text, validate=True) for name, text in _first_wins(several, single).items()}
        except ValueError as error:
            raise InvalidSettings("The keys that encrypt webhook secrets must be base64.") from error

    @property
    def peppers(self) -> dict[str, bytes]:
        """HMAC keys by id; the first is for new API keys, all are tried."""
        several = _several("KINEMA_KEY_PEPPERS", self.key_peppers)
        single = {self.key_pepper_id: str(self.key_pepper)} if self.key_pepper else {}
        return {name: text.encode() for name, text in _first_wins(several, single).items()}


_SERVERS = frozenset({"database_url", "redis_url"})
_STORE = frozenset({"s3_access_key", "s3_secret_key"})
EVERYTHING = _SERVERS | _STORE | {"key_pepper", "webhook_key"}
# What each process cannot do without.
NEEDS: dict[str, frozenset[str]] = {
    "api": EVERYTHING,
    "dispatcher": _SERVERS | _STORE,
    "moderator": frozenset(),
    "screen": _SERVERS | _STORE,
    "render": _SERVERS | _STORE,
    "publish": _SERVERS | _STORE | {"key_pepper"},  # the digest of the prompt in a manifest
    "deliver": _SERVERS | {"webhook_key"},
    "migrate": _STORE | {"database_url"},
    "reconcile": _STORE | {"database_url"},
    "operate": frozenset({"database_url"}),  # commands that read and write rows
    "issue": frozenset({"database_url", "key_pepper"}),  # commands that make keys
}
_ALTERNATIVES = {"key_pepper": "key_peppers", "webhook_key": "webhook_encryption_keys"}


def needs_of(queues: Collection[str]) -> frozenset[str]:
    """What a worker of these queues cannot do without; `render.small` is `render`."""
    wanted = (NEEDS.get(queue.partition(".")[0], EVERYTHING) for queue in queues)
    return frozenset[str]().union(*wanted)


def withheld(needs: Collection[str]) -> frozenset[str]:
    """Variables of the secrets that a process with these needs should not be given."""
    names = EVERYTHING - set(needs)
    every = {*names, *(_ALTERNATIVES[name] for name in names if name in _ALTERNATIVES)}
    return frozenset(variable_of(name) + suffix for name in every for suffix in ("", "_FILE"))


def load(environment: Mapping[str, str] | None = None, needs: Collection[str] = EVERYTHING) -> Settings:
    """Read the environment. Raises InvalidSettings that names every variable of `needs` that is missing."""
    source = os.environ if environment is None else environment
    types = get_type_hints(Settings)
    values: dict[str, Any] = {}
    for field in fields(Settings):
        variable = variable_of(field.name)
        text = _read(source, variable)
        if text is not None:
            values[field.name] = _convert(variable, text, types[field.name])
    missing = [
        variable_of(name)
        for name in sorted(needs)
        if not values.get(name) and not values.get(_ALTERNATIVES.get(name, ""))
    ]
    if missing:
        raise InvalidSettings(f"Set {', '.join(missing)} (each may also be given as a file: {missing[0]}_FILE).")
    return Settings(**values)


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return f"KINEMA_{field.upper()}"


def _several(variable: str, text: str) -> dict[str, str]:
    """`ID:SECRET` apart by commas or new lines. Raises InvalidSettings."""
    pairs = [entry.strip().partition(":") for entry in text.replace(",", "\n").splitlines() if entry.strip()]
    found = {name.strip(): secret.strip() for name, _, secret in pairs}
    if len(found) != len(pairs) or not all(name and secret for name, secret in found.items()):
        raise InvalidSettings(f"{variable} must be ID:SECRET entries with different ids, apart by commas.")
    return found


def _first_wins(several: Mapping[str, str], single: Mapping[str, str]) -> dict[str, str]:
    """The list in its order, then the single one unless the list has its id."""
    return {**several, **{name: text for name, text in single.items() if name not in several}}


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
