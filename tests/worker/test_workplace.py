from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runtime.settings import Settings
from worker import workplace
from worker.process import Process

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from worker import workplace
with workplace.folder(Path(sys.argv[1])) as folder:
    (folder / "draft.mp4").write_bytes(b"frames")
    print(folder, flush=True)
    time.sleep(60)
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a draft in hand."""
    command = [sys.executable, "-c", HOLD, str(parent)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_goes_when_the_next_one_starts(settings: Settings, tmp_path: Path) -> None:
    process, left = holder(tmp_path)
    with process:
        Process(settings, ("screen",))
        assert (left / "draft.mp4").exists(), "its owner lives"
        process.kill()
    assert (left / "draft.mp4").exists()
    Process(settings, ("screen",))
    assert not left.exists()


def test_nobody_elses_folder_is_touched(tmp_path: Path) -> None:
    for name in ("kinema-test-1", "kinema-work-", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "kinema-work-1-file").write_text("not a folder")
    before = sorted(tmp_path.iterdir())
    workplace.clear(tmp_path)
    workplace.clear(tmp_path / "missing")
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_gone_after_its_block(tmp_path: Path) -> None:
    with workplace.folder(tmp_path) as folder:
        (folder / "draft").write_bytes(b"")
        workplace.clear(tmp_path)
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []
