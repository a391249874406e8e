from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.diffusers import bench


def test_the_benchmark_runs_where_there_is_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--runs", "1", "--steps", "2", "--frames", "5", "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert report["facts"]["drawn_frames"] == [5]
    assert set(report["ratios"]) == {"end_to_end", "denoise", "tail"}
    for side in ("plain", "engine"):
        times = report["seconds"][side]
        assert 0 < times["denoise"] < times["whole"]
