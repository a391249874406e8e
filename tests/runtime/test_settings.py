from __future__ import annotations

import base64
from pathlib import Path

import pytest

from cli import processes
from runtime import settings
from runtime.settings import InvalidSettings, variable_of

KEY = base64.b64encode(bytes(32)).decode()
OTHER = base64.b64encode(b"x" * 32).decode()
GIVEN = {
    "KINEMA_DATABASE_URL": "postgresql://db",
    "KINEMA_REDIS_URL": "redis://r",
    "KINEMA_S3_ACCESS_KEY": "a",
    "KINEMA_S3_SECRET_KEY": "s",
    "KINEMA_KEY_PEPPER": "old",
    "KINEMA_WEBHOOK_KEY": KEY,
}


def test_one_pepper_and_one_key_work_as_they_did() -> None:
    loaded = settings.load(GIVEN)
    assert loaded.peppers == {"1": b"old"}
    assert loaded.webhook_keys == {"1": bytes(32)}


def test_of_several_the_first_is_for_new_ones_and_the_single_one_comes_last() -> None:
    loaded = settings.load(
        GIVEN | {"KINEMA_KEY_PEPPERS": "3:newest, 2:newer", "KINEMA_WEBHOOK_ENCRYPTION_KEYS": f"2:{OTHER}"}
    )
    assert list(loaded.peppers.items()) == [("3", b"newest"), ("2", b"newer"), ("1", b"old")]
    assert list(loaded.webhook_keys.items()) == [("2", b"x" * 32), ("1", bytes(32))]


def test_several_alone_are_enough_and_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "peppers").write_text("2:new\n1:old\n")
    environment = {name: value for name, value in GIVEN.items() if name != "KINEMA_KEY_PEPPER"}
    loaded = settings.load(environment | {"KINEMA_KEY_PEPPERS_FILE": str(tmp_path / "peppers")})
    assert list(loaded.peppers) == ["2", "1"]


@pytest.mark.parametrize("text", ["nameless", ":x", "1:", "1:a,1:b"])
def test_a_list_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="KINEMA_KEY_PEPPERS"):
        settings.load(GIVEN | {"KINEMA_KEY_PEPPERS": text})


@pytest.mark.parametrize("text", ["1:short", "1:ä", "2:" + base64.b64encode(bytes(31)).decode()])
def test_keys_that_are_not_32_bytes_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettings):
        settings.load(GIVEN | {"KINEMA_WEBHOOK_ENCRYPTION_KEYS": text})


def test_production_refuses_a_short_pepper_among_several() -> None:
    long = {**GIVEN, "KINEMA_ENV": "production", "KINEMA_KEY_PEPPER": "x" * 32}
    settings.load(long)
    with pytest.raises(InvalidSettings, match="32 characters"):
        settings.load({**long, "KINEMA_KEY_PEPPERS": "2:short"})


@pytest.mark.parametrize("process", sorted(settings.NEEDS))
def test_a_process_demands_what_it_needs_and_nothing_else(process: str) -> None:
    needs = settings.NEEDS[process]
    enough = {name: value for name, value in GIVEN.items() if name in {variable_of(need) for need in needs}}
    settings.load(enough, needs=needs)
    for need in needs:
        with pytest.raises(InvalidSettings, match=variable_of(need)):
            settings.load({name: value for name, value in enough.items() if name != variable_of(need)}, needs=needs)


def test_kinema_up_gives_each_process_only_the_secrets_that_it_needs() -> None:
    around = processes.Surroundings(Path("x"), GIVEN, {}, {"api": 1, "moderator": 2})
    given = {
        program.group: {name for name in program.env if name in GIVEN}
        for program in processes.programs(processes.table("render.small", 1), around)
    }
    assert given["api"] == set(GIVEN)
    assert given["moderator"] == set()
    assert given["render_worker"] == set(GIVEN) - {"KINEMA_KEY_PEPPER", "KINEMA_WEBHOOK_KEY"}
    assert given["io_worker"] == set(GIVEN) - {"KINEMA_WEBHOOK_KEY"}
    assert given["deliver_worker"] == {"KINEMA_DATABASE_URL", "KINEMA_REDIS_URL", "KINEMA_WEBHOOK_KEY"}
