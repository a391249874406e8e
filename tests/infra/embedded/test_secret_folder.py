"""Secrets that are replaced: the old ones or the new ones are in force, whatever happens in between."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from infra.embedded import secret_folder
from infra.embedded.credentials import Credentials


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with secrets of its own."""
    Credentials.of(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Secrets of another installation, as a backup has them."""
    Credentials.of(tmp_path / "other")
    (tmp_path / "other" / "secrets" / "keys.json").write_text("{}")
    return tmp_path / "other" / "secrets"


def names(data: Path) -> set[str]:
    return {path.name for path in data.iterdir()}


def merged(mine: Credentials, saved: Path) -> Credentials:
    other = Credentials.of(saved.parent)
    return replace(mine, key_pepper=other.key_pepper, webhook_key=other.webhook_key)


def test_a_restore_that_fails_leaves_the_secrets_as_they_were(data: Path, saved: Path) -> None:
    mine = Credentials.of(data)
    with pytest.raises(RuntimeError, match="the dump is torn"), secret_folder.beside(saved, data):
        raise RuntimeError("the dump is torn")
    assert Credentials.of(data) == mine
    assert names(data) == {"secrets"}


def test_a_disk_that_fills_up_leaves_the_secrets_as_they_were(
    data: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Credentials.of(data)

    def full(_: Path, target: Path) -> None:
        Path(target).mkdir()
        (Path(target) / "stack.json").write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space"), secret_folder.beside(saved, data):
        pytest.fail("there is no copy")
    assert Credentials.of(data) == mine
    assert names(data) == {"secrets"}


def test_adopted_secrets_keep_the_passwords_of_the_servers_and_the_old_folder_stays(data: Path, saved: Path) -> None:
    mine = Credentials.of(data)
    with secret_folder.beside(saved, data) as draft:
        secret_folder.adopt(draft, data)
    assert Credentials.of(data) == merged(mine, saved)
    assert (data / "secrets" / "keys.json").exists()
    assert (data / "secrets").stat().st_mode & 0o777 == 0o700
    assert (data / "secrets" / "stack.json").stat().st_mode & 0o777 == 0o600
    (data / "secrets").rename(data / "new")
    (data / "secrets.before").rename(data / "secrets")
    assert Credentials.of(data) == mine


@pytest.mark.parametrize("renames", [1, 2])
def test_what_a_crash_interrupts_the_next_start_finishes(
    renames: int, data: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Credentials.of(data)
    left = iter(range(renames + 1))
    rename = Path.rename

    def crashing(path: Path, target: Path) -> Path:
        if path.parent == data and next(left) == renames:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crashing)
        with pytest.raises(KeyboardInterrupt), secret_folder.beside(saved, data) as draft:
            secret_folder.adopt(draft, data)
    secret_folder.settle(data)
    assert Credentials.of(data) == merged(mine, saved)
    assert names(data) == {"secrets", "secrets.before"}
    secret_folder.settle(data)
    assert Credentials.of(data) == merged(mine, saved)
