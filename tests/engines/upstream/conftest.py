from __future__ import annotations

import pytest

from engines.upstream import engine


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other faster than in service."""
    monkeypatch.setattr(engine, "FIRST_PAUSE", 0.03)
    monkeypatch.setattr(engine, "MOST_PAUSE", 0.05)
