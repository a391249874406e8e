"""`kinema provenance init` makes an identity that the settings can use as printed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli import main
from moderation.signing import local_identity


def test_init_prints_settings_that_work_and_keeps_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["provenance", "init", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split("=", 1) for line in printed.splitlines())
    key, chain = Path(lines["KINEMA_PROVENANCE_KEY_FILE"]), Path(lines["KINEMA_PROVENANCE_CERT_FILE"])
    assert len(local_identity(key.read_bytes(), chain.read_text()).sign(b"claim")) == 64
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert main.main(["provenance", "init", "--folder", str(tmp_path)]) == 0
    assert key.read_bytes() == before
    assert capsys.readouterr().out == printed
