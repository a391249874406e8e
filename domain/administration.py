"""Who may administer what, and how it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.fields import Field, Fields
from domain.quotas import Period


class Permission(StrEnum):
    """What a route of the admin API asks for."""

    READ = "read"  # tenants, hints of keys, videos, queues, workers, usage, the audit log
    PROMPTS = "prompts"  # what people asked for, beside the rest of a video
    OPERATE = "operate"  # cancel and retry videos, drain and resume workers
    MODERATE = "moderate"  # decide about held videos, delete videos
    ADMINISTER = "administer"  # tenants, their keys and quotas, admin keys


class Role(StrEnum):
    """What an admin key is for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    MODERATOR = "moderator"
    ADMIN = "admin"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.OPERATE}),
    Role.MODERATOR: frozenset({Permission.READ, Permission.PROMPTS, Permission.MODERATE}),
    Role.ADMIN: frozenset(Permission),
}

ADMIN_KEY: Fields = {
    "name": Field("text", "Who or what the key is for.", 1, 256),
    "role": Field("text", "What the key may do.", choices=tuple(Role)),
    "expires_in": Field("integer", "Seconds until the key ends by itself; null: never.", 1, optional=True),
}

DECISION: Fields = {
    "decision": Field("text", "Whether the held video goes on or ends.", choices=("allow", "block")),
    "note": Field("text", "Why; for the audit log.", 1, 2000, optional=True),
}
QUOTA: Fields = {
    "limit": Field("integer", "In whole units of the meter.", 0, 2**53),
    "period": Field("text", "How long it counts before it begins anew.", choices=tuple(Period)),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, as the audit log names them: an admin key's public id, or `cli:` and a user."""

    name: str
    request_id: str | None = None


def may(role: Role, permission: Permission) -> bool:
    """Whether the table grants it."""
    return permission in GRANTS[role]
