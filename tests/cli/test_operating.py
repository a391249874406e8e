"""The commands of operators, on a real database, as a shell would run them."""

from __future__ import annotations

import base64
import getpass
import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.main import main
from domain.ids import Kind, public
from domain.lifecycle import Stage, State
from storage import keys
from storage.database import Database
from storage.webhooks import create as create_endpoint
from tests.fixtures.videos import World

KEYS = {"1": bytes(32), "2": b"x" * 32}
Shell = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def shell(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("KINEMA_DATABASE_URL", database_url)
    monkeypatch.setenv("KINEMA_KEY_PEPPER", "pepper")

    def run(*arguments: str) -> list[dict[str, Any]]:
        assert main([*arguments, "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    return capsys.readouterr().err


def test_a_tenant_is_made_changed_limited_and_switched_off(shell: Shell) -> None:
    (made,) = shell("tenants", "create", "acme", "--weight", "2", "--allowed-models", "a", "--allowed-models", "b")
    assert (made["weight"], made["allowed_models"], made["disabled_at"]) == (2.0, ["a", "b"], None)
    (changed,) = shell(
        "tenants", "update", "acme", "--allowed-models", "none", "--moderation", '{"on_review": "block"}'
    )
    assert (changed["allowed_models"], changed["moderation"]) == (None, {"on_review": "block"})
    (quota,) = shell("tenants", "quota", "acme", "--meter", "micros", "--limit", "5", "--period", "day")
    assert (quota["meter"], quota["limit"], quota["period"]) == ("micros", 5, "day")
    assert shell("tenants", "quota", "acme", "--meter", "micros", "--clear") == []
    (off,) = shell("tenants", "disable", made["id"])
    assert off["disabled_at"] is not None
    assert [each["id"] for each in shell("tenants", "list")] == [made["id"]]
    actions = [each["action"] for each in shell("audit", "--tenant", "acme")]
    assert actions == ["tenant.disabled", "quota.cleared", "quota.set", "tenant.updated", "tenant.created"]
    assert {each["actor"] for each in shell("audit")} == {f"cli:{getpass.getuser()}"}


def test_a_key_is_made_with_its_tenant_rotated_and_revoked(shell: Shell, database: Database) -> None:
    (made,) = shell("keys", "create", "--tenant", "acme", "--name", "ci", "--scope", "videos:read")
    (rotated,) = shell("keys", "rotate", made["id"], "--overlap-seconds", "60")
    (changed,) = shell("keys", "update", rotated["id"], "--expires-in", "600")
    assert changed["expires_at"] is not None
    shell("keys", "revoke", made["id"])
    with database.transaction_for_any_tenant() as connection:
        peppers = {"1": b"pepper"}
        assert keys.identify_for_any_tenant(connection, made["api_key"], peppers) is None
        caller = keys.identify_for_any_tenant(connection, rotated["api_key"], peppers)
    assert caller is not None
    assert caller.scopes == ("videos:read",)
    assert [each["id"] for each in shell("keys", "list", "--tenant", "acme")] == [rotated["id"], made["id"]]


def test_an_admin_key_is_made_rotated_and_revoked(shell: Shell) -> None:
    (made,) = shell("admin-keys", "create", "ops", "--role", "operator", "--expires-in", "600")
    (rotated,) = shell("admin-keys", "rotate", made["id"])
    (ended,) = shell("admin-keys", "revoke", rotated["id"])
    assert (ended["role"], ended["name"]) == ("operator", "ops")
    assert ended["revoked_at"] is not None
    assert len(shell("admin-keys", "list")) == 2
    assert made["admin_key"].startswith("sk_kinadm_")
    assert made["admin_key"] not in json.dumps(shell("audit"))


def test_videos_are_found_steered_and_decided(shell: Shell, world: World) -> None:
    tenant = world.tenant("acme")
    video_id = world.create(tenant)
    name = public(Kind.VIDEO, video_id)
    world.move(world.must_claim(Stage.SCREEN), State.HELD)
    assert [each["id"] for each in shell("videos", "held")] == [name]
    assert shell("videos", "allow", name, "--note", "fine") == [{"id": name, "state": "queued"}]
    assert [each["id"] for each in shell("videos", "list", "--tenant", "acme", "--state", "queued")] == [name]
    assert shell("videos", "cancel", name)[0]["state"] == "cancelled"
    (again,) = shell("videos", "retry", name)
    assert (again["state"], again["retry_of"]) == ("received", name)
    assert shell("videos", "delete", name)[0]["deleted_at"] is not None
    assert [each["action"] for each in shell("audit", "--target", name)] == [
        "video.deleted",
        "video.cancelled",
        "video.decided",
    ]


def test_usage_is_what_was_charged(shell: Shell, world: World) -> None:
    tenant = world.tenant("acme")
    world.create(tenant)
    for stage in Stage:
        world.advance(stage)
    (line,) = shell("usage", "--group-by", "tenant,model")
    assert (line["tenant"], line["model"], line["videos"]) == (public(Kind.TENANT, tenant), "testcard", 1)
    assert shell("usage", "--tenant", "acme", "--group-by", "tenant")[0]["videos"] == 1
    assert shell("usage", "--tenant", "acme", "--end", "2020-01-02", "--start", "2020-01-01") == []


def test_webhook_secrets_move_to_the_newest_key(
    shell: Shell, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (base64.b64encode(KEYS[name]).decode() for name in ("1", "2"))
    tenant = world.tenant()
    with world.database.transaction(tenant) as connection:
        create_endpoint(connection, tenant, name="a", url="https://example.com", event_types=(), keys={"1": KEYS["1"]})
    monkeypatch.setenv("KINEMA_WEBHOOK_ENCRYPTION_KEYS", f"2:{new}")
    assert "is not configured" in refused(capsys, "secrets", "reseal")
    monkeypatch.setenv("KINEMA_WEBHOOK_ENCRYPTION_KEYS", f"2:{new},1:{old}")
    before = {each["under"]: each["count"] for each in shell("secrets", "status") if each["what"] == "webhook secrets"}
    assert shell("secrets", "reseal") == [{"resealed": 1}]
    after = {each["under"]: each["count"] for each in shell("secrets", "status") if each["what"] == "webhook secrets"}
    assert (before, after) == ({"2": 0, "1": 1}, {"2": 1, "1": 0})
    assert shell("audit", "--action", "secrets.resealed")[0]["after"] == {"2": 1}


def test_refusals_are_one_sentence(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no tenant 'nobody'" in refused(capsys, "tenants", "show", "nobody")
    assert "not an id" in refused(capsys, "keys", "revoke", "x")
    assert "no key" in refused(capsys, "keys", "revoke", "key_" + "0" * 32)
    assert "--weight" in refused(capsys, "tenants", "create", "acme", "--weight", "heavy")
    assert "must be from 0.01" in refused(capsys, "tenants", "create", "acme", "--weight", "0")
    assert "no such video" in refused(capsys, "videos", "allow", "video_" + "0" * 32)
    for _ in range(2):
        shell("tenants", "create", "twin")
    assert "give the id" in refused(capsys, "tenants", "show", "twin")


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KINEMA_DATABASE_URL", raising=False)
    assert main(["tenants", "list"]) == 2
    assert "KINEMA_DATABASE_URL" in capsys.readouterr().err


def test_a_table_for_people_has_a_row_for_each(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell("tenants", "create", "acme")
    assert main(["tenants", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["id", "name"]
    assert row.split()[1] == "acme"
