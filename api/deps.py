"""What endpoints ask for, as annotated aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import limits, scopes
from api.errors import InvalidApiKey
from api.services import Services
from storage.keys import Caller

_bearer = HTTPBearer(auto_error=False, description="An API key, as OpenAI's clients send it.")


async def services(request: Request) -> Services:
    """The process's open parts."""
    opened: Services = request.app.state.services
    return opened


Served = Annotated[Services, Depends(services)]


def bearer(credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> str:
    """The key as it came. Raises InvalidApiKey."""
    if credentials is None:
        raise InvalidApiKey("You did not provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.")
    return credentials.credentials


Bearer = Annotated[str, Depends(bearer)]


def authenticate(request: Request, served: Served, key: Bearer) -> Caller:
    """Whose key came as a bearer token, if it may come now and reaches this route.

    Raises InvalidApiKey, RateLimited and Forbidden.
    """
    caller = served.keys.identify(key)
    if caller is None:
        raise InvalidApiKey("Incorrect API key provided.")
    limits.admit(request, served, caller)
    scopes.refuse_beyond(caller, request.scope["route"].tags, request.method)
    return caller


Authenticated = Annotated[Caller, Depends(authenticate)]
