"""The documents say what is: the diagram is current, links lead somewhere, commands and routes exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import dev
from api import parameters
from cli import main
from domain.catalogue import NEEDS
from domain.errors import VIDEO_ERRORS
from domain.lifecycle import State, diagram, public_status
from domain.video import Operation
from storage.database import POOL_SIZE

ROOT = Path(__file__).parents[2]
LISTING = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
NAMES = subprocess.run(LISTING, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
PAGES = [ROOT / name for name in NAMES if name and (ROOT / name).is_file()]
LINK = re.compile(r"\]\(([^)\s]+)\)")
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
PARAMETERS = (ROOT / "docs" / "parameters.md").read_text()
LIFECYCLE = (ROOT / "docs" / "lifecycle.md").read_text()


def identify(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"docs", "tests", "infra"}
    for name in re.findall(r"`((?:\w+/)+[\w.-]+\.\w+)`", page.read_text()):
        if name.partition("/")[0] in packages:
            assert (ROOT / name).exists(), name


def test_the_diagram_is_the_codes() -> None:
    drawn = re.search(r"<!-- begin diagram -->\n```mermaid\n(.*?)\n```\n<!-- end diagram -->", LIFECYCLE, re.DOTALL)
    assert drawn is not None
    assert drawn[1] == diagram()


def test_every_state_is_explained_with_its_public_status() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", LIFECYCLE, re.MULTILINE))
    assert rows == {state.value: public_status(state).value for state in State}


def test_every_code_of_a_failed_video_is_explained() -> None:
    table = LIFECYCLE.partition("## Codes")[2]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == set(VIDEO_ERRORS)


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    text = page.read_text()
    shown = set(re.findall(r"python3 dev\.py (\w+)", text))
    assert shown <= set(dev.COMMANDS)
    used = set(re.findall(r"(?:^|`| )kinema (?=[a-z])([\w-]+)", code_of(text), re.MULTILINE))
    assert used <= set(main.COMMANDS)


def test_the_readme_shows_the_two_commands() -> None:
    assert {"demo", "test"} <= set(re.findall(r"^python3 dev\.py (\w+)", README, re.MULTILINE))


def test_api_md_names_every_route() -> None:
    code = "".join(path.read_text() for path in sorted((ROOT / "api").glob("*.py")))
    routes = set(re.findall(r'@router\.\w+\(\s*"(/\w+)', code))
    missing = {route for route in routes if f"/v1{route}" not in API and f"{route}`" not in API}
    assert missing == set()


def test_the_table_of_parameters_is_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|(.*?)\|(.*?)\|(.*?)\|(.*?)\|", PARAMETERS, re.MULTILINE)
    shown = {name: tuple(cell.strip(" `") for cell in cells) for name, *cells in rows}
    assert shown == {each.name: documented(each.name) for each in parameters.PARAMETERS}


def documented(name: str) -> tuple[str, ...]:
    """What each call does with a parameter, and the capability that it needs."""
    calls = [parameters.of(operation).get(name) for operation in Operation]
    words = ["" if each is None else "must" if each.required else "yes" for each in calls]
    return (*words, NEEDS.get(name, ""))


def test_every_other_name_of_a_parameter_is_documented() -> None:
    said = PARAMETERS.partition("Other names are accepted")[2].partition("\n")[0]
    for names in parameters.ALIASES.values():
        for alias, name in names.items():
            assert f"`{alias}` for `{name}`" in said or alias == "input_file", alias
    assert "`input_file` for `input_reference` or, of an edit or extension, `video`" in said


def test_the_table_of_connections_has_the_codes_numbers() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## Connections and threads")[2]
    rows = {name: int(count) for name, count in re.findall(r"^\| (\w+)[^|]*\| (\d+)", table, re.MULTILINE)}
    assert rows["api"] == POOL_SIZE
    assert rows["dispatcher"] in pool_sizes("worker/dispatcher.py")
    assert {rows["deliver"], rows["render"], rows["io"]} == pool_sizes("worker/process.py")
    assert rows["render"] > rows["io"], "a renderer may be at two videos"


def pool_sizes(name: str) -> set[int]:
    """The numbers that a file gives as `pool_size`."""
    calls = [node for node in ast.walk(ast.parse((ROOT / name).read_text())) if isinstance(node, ast.keyword)]
    given = [node.value for node in calls if node.arg == "pool_size"]
    return {part.value for each in given for part in ast.walk(each) if isinstance(part, ast.Constant)}


def code_of(text: str) -> str:
    """Fenced blocks and inline code."""
    return "\n".join([*re.findall(r"```.*?```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])
