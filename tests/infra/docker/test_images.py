"""The Dockerfiles: clean, in step with dev.py, and holding every library that their processes import."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import dev
from runtime.settings import variable_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "infra" / "docker"
IMAGES = sorted(FOLDER.glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKER = PROJECT["optional-dependencies"]["worker"]
NAME = re.compile(r"[\w.-]+")
SETTINGS = {
    "database_url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
    "redis_url": "redis://127.0.0.1:1/0",
    "s3_access_key": "none",
    "s3_secret_key": "none",
    "key_pepper": "none",
    "webhook_key": base64.b64encode(bytes(32)).decode(),
}
COMMANDS = ("cli.main", "cli.serve", "cli.health")
# What libraries import by name when they are used.
LATE = ("kombu.transport.redis", "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "boto3.s3.transfer")
POOLS = ("celery.concurrency.prefork", "celery.concurrency.thread", "celery.apps.worker")
# Imports modules after hiding others, and prints what is loaded then.
PROGRAM = """
import json, sys
hidden, modules = json.loads(sys.argv[1])

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Hide())
for name in modules:
    __import__(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_hadolint_finds_nothing(image: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, image], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_base_is_the_same_pinned_python(image: Path) -> None:
    bases = re.findall(r"^FROM (\S+)", image.read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", image.read_text(), re.MULTILINE)
    outside = {base for base in bases if base not in stages}
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", outside.pop())


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_tools_are_pinned_as_dev_py_pins_them(image: Path) -> None:
    text = image.read_text()
    assert f"uv=={argument(text, 'UV_VERSION')}" == dev.UV
    if "ENCODER" in text:
        assert (argument(text, "ENCODER"),) == dev.WITHOUT_DEPENDENCIES
    for line in re.findall(r"uv pip install [^&\n]*", text):
        assert "-c constraints.txt" in line or "--no-deps" in line


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_the_last_stage_is_no_root_and_has_no_tools(image: Path) -> None:
    *_, last = re.split(r"^FROM ", image.read_text(), flags=re.MULTILINE)
    runtime = last if "USER" in last else re.split(r"^FROM .* AS runtime$", image.read_text(), flags=re.MULTILINE)[1]
    assert "USER 10001:10001" in runtime
    assert "HEALTHCHECK" in runtime
    assert "pip install" not in runtime
    assert re.search(r'^CMD \["kinema", ', last, re.MULTILINE)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_whatever_is_copied_is_sent_to_the_builder(image: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", image.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources <= kept
    assert all((ROOT / source).exists() for source in sources)


def test_secrets_and_data_stay_out_of_the_build() -> None:
    first = next(line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#"))
    assert first == "*"


def test_the_api_image_holds_what_its_processes_import_and_no_torch() -> None:
    text = (FOLDER / "api.Dockerfile").read_text()
    wanted = [*PROJECT["dependencies"], *added(text)]
    modules = (
        "api.app",
        "moderation.detection",
        "worker.dispatcher",
        *COMMANDS,
        "cli.migrate",
        "cli.keys",
        "cli.provenance",
        *LATE,
    )
    assert packages_imported(modules, wanted) <= copied_packages(text)
    assert "torch" in hidden(wanted)


def test_the_io_image_holds_what_its_processes_import_and_no_torch() -> None:
    text = (FOLDER / "worker.Dockerfile").read_text()
    left_out = set(re.search(r"printf '(.*)' >", text)[1].split(r"\n"))
    wanted = [*PROJECT["dependencies"], *added(text), *(name for name in WORKER if NAME.match(name)[0] not in left_out)]
    modules = ("worker.tasks", "worker.pipeline.screen", "worker.pipeline.publish", *COMMANDS, *LATE, *POOLS)
    assert packages_imported(modules, wanted) <= copied_packages(text)
    assert "torch" in hidden(wanted)


def test_the_torch_images_hold_what_their_processes_import() -> None:
    text = (FOLDER / "worker.Dockerfile").read_text()
    wanted = [*PROJECT["dependencies"], *added(text), *WORKER]
    modules = (
        "worker.tasks",
        "worker.pipeline.render",
        "engines.dit.engine",
        "worker.moderator",
        *COMMANDS,
        *LATE,
        *POOLS,
    )
    assert packages_imported(modules, wanted) <= copied_packages(text)


def added(text: str) -> list[str]:
    """What the first stage installs besides pyproject.toml's."""
    found = re.search(r"uv pip install -r pyproject.toml (?:--extra worker )?-c constraints.txt((?: [a-z]+)*)", text)
    assert found is not None
    return found[1].split()


def argument(text: str, name: str) -> str:
    found = re.search(rf"^ARG {name}=(\S+)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def copied_packages(text: str) -> set[str]:
    return set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))


def packages_imported(modules: tuple[str, ...], requirements: list[str]) -> set[str]:
    """Our packages that these modules import in a process that has nothing but what the requirements bring."""
    known = {variable_of(name): value for name, value in SETTINGS.items()}
    command = [sys.executable, "-c", PROGRAM, json.dumps([sorted(hidden(requirements)), modules])]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name for name in done.stdout.split() if (ROOT / name / "__init__.py").exists()}


def hidden(requirements: list[str]) -> set[str]:
    """Top-level modules that are installed here and would not be there."""
    brought = closure(requirements)
    homes = metadata.packages_distributions()
    return {module for module, owners in homes.items() if not brought & {norm(name) for name in owners}}


def closure(requirements: list[str]) -> set[str]:
    """Names of all distributions that come with these, extras that are asked for included."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        text = waiting.pop()
        name, extras = norm(NAME.match(text)[0]), set(re.findall(r"\[([\w,-]+)\]", text))
        if name in found and not extras:
            continue
        found.add(name)
        waiting += [need for need in needs(name) if applies(need, extras)]
    return found


def needs(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another platform or Python
        return []


def applies(requirement: str, extras: set[str]) -> bool:
    asked = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
    return asked is None or asked[1] in extras


def norm(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
