"""Servers that the user runs: asked once before anything starts, so that a wrong address is one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg
import redis

from infra.embedded.errors import StackError

PATIENCE_SECONDS = 5
KEEPERS = ("KINEMA_DATABASE_URL", "KINEMA_S3_ENDPOINT_URL")  # of what a backup holds


def refuse_own(environment: Mapping[str, str], command: str) -> None:
    """For commands that replace or copy only what `kinema up` keeps itself. Raises StackError, naming the variable."""
    if own := [variable for variable in KEEPERS if environment.get(variable)]:
        raise StackError(
            f"{own[0]} is set: `kinema {command}` knows only the servers that `kinema up` runs itself, "
            'and leaves yours alone. docs/operations/backup.md, "Your own Postgres and store", says what to do.'
        )


def refuse_unreachable(environment: Mapping[str, str]) -> None:
    """Raises StackError that names the first variable whose server does not answer."""
    checks: dict[str, Callable[[Mapping[str, str]], None]] = {
        "KINEMA_DATABASE_URL": _postgres,
        "KINEMA_REDIS_URL": _redis,
        "KINEMA_S3_ENDPOINT_URL": _s3,
    }
    for variable, ask in checks.items():
        if not environment.get(variable):
            continue
        try:
            ask(environment)
        except Exception as error:
            raise StackError(f"{variable} does not answer: {error}") from error


def _postgres(environment: Mapping[str, str]) -> None:
    url = environment.get("KINEMA_OWNER_DATABASE_URL") or environment["KINEMA_DATABASE_URL"]
    psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=PATIENCE_SECONDS).close()


def _redis(environment: Mapping[str, str]) -> None:
    from_url: Callable[..., redis.Redis] = redis.Redis.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped **kwargs
    with from_url(environment["KINEMA_REDIS_URL"], socket_connect_timeout=PATIENCE_SECONDS) as client:
        client.ping()  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs


def _s3(environment: Mapping[str, str]) -> None:
    from storage.objects import ObjectStore  # noqa: PLC0415 - boto3 takes half a second, and few bring their own store

    store = ObjectStore(
        environment["KINEMA_S3_ENDPOINT_URL"],
        environment["KINEMA_S3_ACCESS_KEY"],
        environment["KINEMA_S3_SECRET_KEY"],
        environment["KINEMA_S3_BUCKET"],
        region=environment.get("KINEMA_S3_REGION", "us-east-1"),
    )
    store.put("embedded/ready", b"ready", content_type="text/plain")
    store.delete(["embedded/ready"])
