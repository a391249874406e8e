"""`kinema backup` and `kinema restore`: what they refuse, before they touch anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from infra.embedded import ports, seaweedfs
from infra.embedded.credentials import Credentials


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize("variable", ["KINEMA_DATABASE_URL", "KINEMA_S3_ENDPOINT_URL"])
def test_servers_of_the_users_own_are_left_alone(
    command: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "postgresql+psycopg://owner:secret@127.0.0.1:9/kinema")
    assert main([command, str(tmp_path / "copy"), "--data", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{variable} is set: `kinema {command}` knows only the servers")
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_turns_out_torn_leaves_secrets_and_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, data = tmp_path / "copy", tmp_path / "data"
    mine, _ = Credentials.of(data), Credentials.of(copy)
    (copy / "database.dump").write_bytes(b"PGDMP, and no more")
    (copy / "manifest.json").write_text('{"objects": 0}')
    assert main(["restore", str(copy), "--data", str(data)]) == 1
    assert "pg_restore failed" in capsys.readouterr().err
    assert Credentials.of(data) == mine
    assert not any(data.glob("secrets.*"))


def test_a_system_that_is_down_cannot_be_backed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    Credentials.of(data)
    ports.assign(data / "ports.json", ("postgres", "valkey", *seaweedfs.PORTS))
    assert main(["backup", str(tmp_path / "copy"), "--data", str(data)]) == 1
    assert capsys.readouterr().err == f"Nothing runs on {data}: start it with `kinema up`, then back it up.\n"
    assert list(tmp_path.iterdir()) == [data]
