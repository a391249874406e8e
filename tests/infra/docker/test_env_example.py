""".env.example names every setting with its true default, and every variable that Compose asks for."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from runtime.settings import EVERYTHING, Settings, variable_of

ROOT = Path(__file__).parents[3]
LINES = (ROOT / ".env.example").read_text().splitlines()
LINE = re.compile(r"(# )?(KINEMA_[A-Z0-9_]+)=(.*)")
ENTRIES = {found[2]: found for line in LINES if (found := LINE.fullmatch(line))}
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SETTINGS = {variable_of(field.name): field for field in fields(Settings)}


def test_every_setting_is_there() -> None:
    assert SETTINGS.keys() - ENTRIES.keys() == set()


def test_every_variable_of_compose_is_there_and_nothing_else_is() -> None:
    asked = set(re.findall(r"\$\{(KINEMA_\w+)", COMPOSE))
    assert ENTRIES.keys() == SETTINGS.keys() | asked


def test_a_default_is_the_one_of_the_code() -> None:
    for name, field in SETTINGS.items():
        if field.name not in EVERYTHING and ENTRIES[name][1]:
            shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert f"{name}={ENTRIES[name][3]}" == f"{name}={shown}"


def test_a_default_of_compose_is_the_one_shown() -> None:
    for name, default in re.findall(r"\$\{(KINEMA_\w+):-([^}]*)\}", COMPOSE):
        if name not in SETTINGS:
            assert ENTRIES[name][3] == default


def test_what_must_be_filled_in_is_empty_and_what_need_not_is_commented_out() -> None:
    required = set(re.findall(r"\$\{(KINEMA_\w+):\?", COMPOSE))
    assert {name for name, entry in ENTRIES.items() if not entry[1]} == required
    assert all(ENTRIES[name][3] == "" for name in required)


def test_every_entry_follows_a_comment() -> None:
    for number, line in enumerate(LINES):
        if LINE.fullmatch(line):
            before = LINES[number - 1]
            assert before.startswith("# ") or LINE.fullmatch(before), line
