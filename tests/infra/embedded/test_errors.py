from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded import programs
from infra.embedded.credentials import Credentials
from infra.embedded.errors import StackError, explain, explain_os_error, tail
from infra.embedded.stack import start

DATA = Path("/data")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("PANIC: could not write to file: No space left on device", "The disk that holds /data is full"),
        ("bind: address already in use", "valkey found its port taken"),
        ("FATAL: database files are incompatible with server", "made by another version of Postgres"),
        ('FATAL: password authentication failed for user "kinema_owner"', "/data/secrets belongs to other data"),
        ("could not open file: Permission denied", "valkey may not use /data"),
        ("one\ntwo", "valkey does not start; the last lines of /data/log:\n  one\n  two"),
        ("", "it said nothing"),
    ],
)
def test_what_a_server_said_becomes_a_sentence_that_helps(said: str, advice: str) -> None:
    assert advice in str(explain("valkey", DATA, said, DATA / "log"))


def test_a_stolen_port_is_worth_another_try() -> None:
    assert explain("valkey", DATA, "Address already in use", DATA / "log").port_taken
    assert not explain("valkey", DATA, "No space left on device", DATA / "log").port_taken


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "cannot be"),
    ],
)
def test_a_failed_write_of_our_own_becomes_a_sentence_too(number: int, advice: str) -> None:
    assert advice in str(explain_os_error(OSError(number, "words"), DATA))


def test_only_what_was_said_since_the_start_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    since = log.stat().st_size
    assert tail(log, since) == ""
    with log.open("a") as file:
        file.write("new\n")
    assert tail(log, since) == "new\n"
    log.write_text("x")  # set aside meanwhile, begun afresh
    assert tail(log, since) == "x"


@pytest.mark.parametrize(
    ("find", "variable"),
    [
        (programs.postgres_binaries, "KINEMA_DATABASE_URL"),
        (programs.valkey_server, "KINEMA_REDIS_URL"),
        (programs.weed, "KINEMA_S3_ENDPOINT_URL"),
    ],
)
def test_a_platform_without_a_server_is_told_how_to_bring_its_own(
    find: Callable[[], Path], variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_package", lambda _name: iter(()))
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=f"run your own and set .*{variable}"):
        find()


def test_own_object_store_without_keys_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINEMA_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StackError, match="set KINEMA_S3_ACCESS_KEY, KINEMA_S3_SECRET_KEY, KINEMA_S3_BUCKET too"):
        start(tmp_path / "data")


def test_an_unreachable_server_of_the_users_own_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_DATABASE_URL", "postgresql+psycopg://nobody:secret@127.0.0.1:1/nowhere")
    with pytest.raises(StackError, match="KINEMA_DATABASE_URL does not answer") as refusal:
        start(tmp_path / "data")
    assert "secret" not in str(refusal.value)


def test_secrets_are_drawn_once_and_a_missing_one_is_added(tmp_path: Path) -> None:
    first = Credentials.of(tmp_path)
    assert Credentials.of(tmp_path) == first
    path = tmp_path / "secrets" / "stack.json"
    path.write_text(path.read_text().replace('"valkey"', '"formerly"'))
    second = Credentials.of(tmp_path)
    assert second.valkey != first.valkey
    assert second.postgres_owner == first.postgres_owner
