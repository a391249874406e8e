"""House rules that a file can break by itself: length, name, unfinished business."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 400
BUCKETS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "misc"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def tracked(*patterns: str) -> list[Path]:
    """Files in the repository, or about to be."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_longer_than_one_can_keep_in_mind() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked("*.py", "*.ts", "*.tsx")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
    assert len(lengths) > 50  # the listing works


def test_no_file_is_a_bucket() -> None:
    assert [
        str(path.relative_to(ROOT)) for path in tracked("*.py", "*.ts", "*.tsx") if path.stem.lower() in BUCKETS
    ] == []


def test_nothing_is_left_for_later() -> None:
    mine = Path(__file__)
    left = [
        str(path.relative_to(ROOT)) for path in tracked("*.py") if path != mine and UNFINISHED.search(path.read_text())
    ]
    assert left == []


def test_every_test_directory_mirrors_a_package() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    apart = {"architecture", "chaos", "docs", "examples", "fixtures", "journeys", "node"}
    directories = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert directories <= packages | apart
