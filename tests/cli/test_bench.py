from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_worker_is_measured_beside_its_drawing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.bench", "--renders", "testcard", "--clips", "3", "--json"]
    ran = subprocess.run([*command, str(tmp_path / "figures.json")], cwd=ROOT, capture_output=True, check=False)
    assert ran.returncode in {0, 1}, ran.stderr.decode()[-2000:]
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert figures["scenario"] == "renders of testcard"
    assert figures["met"] is (ran.returncode == 0)
    assert min(figures[name] for name in ("draw", "encode", "upload", "idle")) > 0
    assert figures["idle"] < figures["encode"] + figures["upload"] + 1.0, "what follows the last frame holds up nobody"
