"""What the commands of operators share: the database, who is at work, options from tables of fields, rows on paper."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain import ids
from domain.administration import Actor
from domain.errors import InvalidRequest, NotFound
from domain.fields import Field, Fields
from domain.ids import Kind
from runtime import settings
from runtime.settings import Settings
from storage import tenants
from storage.database import Connection, Database
from storage.tenants import Tenant

NONE = "none"  # what clears a value that may be null
MOST = 200  # rows of a list, unless told otherwise


@dataclass(frozen=True, slots=True)
class Desk:
    """One transaction of an operator."""

    connection: Connection
    actor: Actor
    settings: Settings


@contextmanager
def at_work(needs: Collection[str] = settings.NEEDS["operate"]) -> Generator[Desk]:
    """Everything inside is one transaction, named after the user in the audit log. Raises InvalidSettings."""
    with (
        at_database(needs) as (database, actor, loaded),
        database.transaction_for_any_tenant() as connection,
    ):
        yield Desk(connection, actor, loaded)


@contextmanager
def at_database(
    needs: Collection[str] = settings.NEEDS["operate"],
) -> Generator[tuple[Database, Actor, Settings]]:
    """For what is more than one transaction: the database, who is at work, the settings. Raises InvalidSettings."""
    loaded = settings.load(needs=needs)
    with closing(Database(loaded.database_url, pool_size=1)) as database:
        yield database, Actor(f"cli:{getpass.getuser()}"), loaded


def find_tenant(connection: Connection, text: str) -> Tenant:
    """By id, or by a name that only one tenant has. Raises NotFound and InvalidRequest."""
    try:
        found = tenants.find(connection, ids.parse(Kind.TENANT, text))
    except ids.InvalidId:
        named, _ = tenants.page_for_any_tenant(connection, name=text, after=None, limit=2)
        if len(named) > 1:
            raise InvalidRequest(f"Several tenants are called {text!r}: give the id.") from None
        found = named[0] if named else None
    if found is None:
        raise NotFound(f"There is no tenant {text!r}.")
    return found


def parse(kind: Kind, text: str) -> UUID:
    """An id on the command line. Raises InvalidRequest."""
    try:
        return ids.parse(kind, text)
    except ids.InvalidId:
        raise InvalidRequest(f"{text!r} is not an id that begins with {kind}_.") from None


def add_options(parser: argparse.ArgumentParser, fields: Fields) -> None:
    """An option for each field."""
    for name, field in fields.items():
        about = field.about.rstrip(".") + (f" ({NONE}: no limit)" if field.optional else "")
        many = "append" if field.kind == "names" else "store"
        parser.add_argument(f"--{name.replace('_', '-')}", action=many, metavar=_METAVAR[field.kind], help=about)


def given(options: argparse.Namespace, fields: Fields) -> dict[str, Any]:
    """The values of the options that were used, for `domain.fields.check`. Raises InvalidRequest."""
    texts = {name: getattr(options, name) for name in fields}
    return {name: _value(name, fields[name], text) for name, text in texts.items() if text is not None}


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str] = ()) -> None:
    """One JSON object a line, or a table of these columns (all)."""
    plain = [{name: _shown(value) for name, value in row.items()} for row in rows]
    if as_json:
        for row in plain:
            print(json.dumps(row))
        return
    names = list(columns) or list(plain[0] if plain else ())
    lines = [names, *([_cell(row.get(name)) for name in names] for row in plain)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(names))]
    for line in lines if plain else ():
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def public(kind: Kind, record: Any) -> dict[str, Any]:
    """A dataclass as a row; its own id and its tenant's as users see them."""
    row: dict[str, Any] = asdict(record)
    row["id"] = ids.public(kind, row["id"])
    for name, other in (("tenant_id", Kind.TENANT), ("tenant", Kind.TENANT), ("replaces", kind)):
        if isinstance(row.get(name), UUID):
            row[name] = ids.public(other, row[name])
    return row


_METAVAR = {"text": "TEXT", "integer": "N", "number": "X", "names": "NAME", "object": "JSON"}


def _value(name: str, field: Field, text: Any) -> Any:
    if field.optional and text in (NONE, [NONE]):
        return None
    try:
        match field.kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "object":
                return json.loads(text)
            case _:
                return text
    except ValueError:
        raise InvalidRequest(f"--{name.replace('_', '-')} cannot be {text!r}.") from None


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value.hex if isinstance(value, UUID) else value


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "-"  # pyright: ignore[reportUnknownArgumentType] - of a decoded row
    return json.dumps(value) if isinstance(value, dict) else str(value)
