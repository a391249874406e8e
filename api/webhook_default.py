"""/v1/webhook_endpoints/default: the secret that signs what goes to the `webhook_url` of requests."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api import bodies, webhook_values
from api.bodies import Received
from api.deps import Authenticated, Served
from api.openapi import FAILURES
from storage import endpoint_secrets
from storage.endpoint_secrets import Default
from storage.secrets import unseal


class DefaultWebhookSecret(BaseModel):
    """The project's default secret. Unlike an endpoint's it can be read again: requests name no endpoint."""

    object: Literal["webhook_endpoint.default"] = "webhook_endpoint.default"
    signing_secret: str
    signing_secret_hint: str
    created_at: int
    updated_at: int


router = APIRouter(prefix="/v1", tags=["webhooks"], responses=FAILURES)


@router.get("/webhook_endpoints/default")
def retrieve_default_webhook_secret(served: Served, caller: Authenticated) -> DefaultWebhookSecret:
    """The secret that signs what is sent to a request's `webhook_url`; made at its first use."""
    with served.database.transaction(caller.tenant_id) as connection:
        default = endpoint_secrets.default(connection, caller.tenant_id, served.settings.webhook_keys)
    return _shown(served, default)


@router.post(
    "/webhook_endpoints/default/rotate_secret", openapi_extra=webhook_values.json_body(webhook_values.ROTATION)
)
def rotate_default_webhook_secret(served: Served, caller: Authenticated, body: Received) -> DefaultWebhookSecret:
    """A new default secret. The old one ends at once, or signs beside it for as long as is asked for."""
    overlap, keys = webhook_values.overlap(bodies.read(body)), served.settings.webhook_keys
    with served.database.transaction(caller.tenant_id) as connection:
        owner = endpoint_secrets.default(connection, caller.tenant_id, keys).owner
        endpoint_secrets.rotate(connection, caller.tenant_id, owner, keys, overlap)
        default = endpoint_secrets.default(connection, caller.tenant_id, keys)
    return _shown(served, default)


def _shown(served: Served, default: Default) -> DefaultWebhookSecret:
    return DefaultWebhookSecret(
        signing_secret=unseal(default.secret, served.settings.webhook_keys, default.owner),
        signing_secret_hint=default.hint,
        created_at=int(default.created_at.timestamp()),
        updated_at=int(default.updated_at.timestamp()),
    )
