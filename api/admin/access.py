"""Who may call a route of the admin API: one dependency looks the key up and weighs its role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.deps import Bearer, Served
from api.errors import InvalidApiKey
from domain import ids
from domain.administration import Actor, Permission, may
from domain.errors import Forbidden
from storage.admin_keys import AdminKey


@dataclass(frozen=True, slots=True)
class Administrator:
    """Whose admin key came with a request, and how the audit log names them for it."""

    key: AdminKey
    actor: Actor

    def may(self, permission: Permission) -> bool:
        """Whether the key's role grants it."""
        return may(self.key.role, permission)


@dataclass(frozen=True, slots=True)
class Needs:
    """The dependency of a route that asks for one permission; a test walks all routes for it."""

    permission: Permission

    def __call__(self, request: Request, served: Served, key: Bearer) -> Administrator:
        """Raises InvalidApiKey, and Forbidden for a role that lacks the permission."""
        found = served.admins.identify(key)
        if found is None:
            raise InvalidApiKey("Incorrect admin key provided.")
        if not may(found.role, self.permission):
            raise Forbidden(
                f"The role '{found.role}' lacks the permission '{self.permission}'.", code="insufficient_role"
            )
        actor = Actor(ids.public(ids.Kind.ADMIN_KEY, found.id), request.state.request_id)
        return Administrator(found, actor)


Reader = Annotated[Administrator, Depends(Needs(Permission.READ))]
Operator = Annotated[Administrator, Depends(Needs(Permission.OPERATE))]
Moderator = Annotated[Administrator, Depends(Needs(Permission.MODERATE))]
Admin = Annotated[Administrator, Depends(Needs(Permission.ADMINISTER))]
