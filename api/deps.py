"""What endpoints ask for, as annotated aliases."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.errors import InvalidApiKey
from api.services import Services
from storage.keys import Caller

_bearer = HTTPBearer(auto_error=False, description="An API key, as OpenAI's clients send it.")


async def services(request: Request) -> Services:
    """The process's open parts."""
    opened: Services = request.app.state.services
    return opened


Served = Annotated[Services, Depends(services)]


def authenticate(
    served: Served, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    """Whose key came as a bearer token. Raises InvalidApiKey."""
    if credentials is None:
        raise InvalidApiKey("You did not provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.")
    caller = served.keys.identify(credentials.credentials)
    if caller is None:
        raise InvalidApiKey("Incorrect API key provided.")
    return caller


Authenticated = Annotated[Caller, Depends(authenticate)]
