"""A state goes to another machine in parts, and training goes on there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.dit import checkpoint as checkpoints
from engines.dit import train_codec, travel
from engines.dit.run import Run
from engines.dit.travel import Damaged
from tests.engines.dit.conftest import SMALL

LIMIT = 100_000  # bytes


def run_in(folder: Path) -> Run:
    return Run(checkpoints.fresh(SMALL, []).codec, folder / "codec.pt", minutes=10, rate=1e-3, decay=0.9)


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    run = run_in(tmp_path)
    for step in range(3):
        run.learn(train_codec.loss_of(run.model, train_codec.batch_at(step, rows=3, frames=5), step)[0])
    run.save()
    return run


def test_the_parts_are_small_and_anybody_can_check_them(trained: Run, tmp_path: Path) -> None:
    *parts, listed = travel.pack(trained.path, tmp_path / "parts", LIMIT)
    sizes = [part.stat().st_size for part in parts]
    assert len(parts) > 2
    assert sizes[:-1] == [LIMIT] * (len(parts) - 1)
    assert sizes[-1] <= LIMIT
    assert sum(sizes) < trained.path.stat().st_size / 4, "no moments, and half of the bytes"
    command = ["sha256sum", "-c", listed.name]
    checked = subprocess.run(command, cwd=listed.parent, capture_output=True, text=True, check=True)
    assert checked.stdout.count("OK") == len(parts)


def test_training_goes_on_from_what_arrived(trained: Run, tmp_path: Path) -> None:
    *_, listed = travel.pack(trained.path, tmp_path / "parts", LIMIT)
    assert travel.unpack(listed, tmp_path / "there") == tmp_path / "there" / "codec.pt"
    there = run_in(tmp_path / "there")
    assert there.step == 3
    assert travel.minutes_in(tmp_path / "there" / "codec.pt") == there.clock.spent
    assert travel.minutes_in(tmp_path / "nowhere.pt") == 0
    assert there.clock.spent == pytest.approx(trained.clock.elapsed(), abs=0.01)
    for name, value in trained.average.values.items():
        assert (there.average.values[name] - value).abs().max() <= 0.01 * value.abs().max() + 1e-6, name
    there.learn(train_codec.loss_of(there.model, train_codec.batch_at(3, rows=3, frames=5), 3)[0])
    assert there.step == 4


def test_fewer_parts_leave_none_of_the_old_ones(trained: Run, tmp_path: Path) -> None:
    many = travel.pack(trained.path, tmp_path / "parts", LIMIT)
    few = travel.pack(trained.path, tmp_path / "parts", 10 * LIMIT)
    assert sorted((tmp_path / "parts").iterdir()) == sorted(few)
    assert len(few) < len(many)


def test_a_part_that_is_damaged_or_missing_is_named(trained: Run, tmp_path: Path) -> None:
    *parts, listed = travel.pack(trained.path, tmp_path / "parts", LIMIT)
    data = bytearray(parts[1].read_bytes())
    data[77] ^= 1
    parts[1].write_bytes(data)
    with pytest.raises(Damaged, match=r"codec\.001 is damaged"):
        travel.unpack(listed, tmp_path / "there")
    parts[1].unlink()
    with pytest.raises(Damaged, match=r"codec\.001 is missing"):
        travel.unpack(listed, tmp_path / "there")
    assert not (tmp_path / "there").exists()
    with pytest.raises(FileNotFoundError):
        travel.unpack(tmp_path / "nothing.sha256", tmp_path / "there")


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04garbage", b"\x80\x02garbage"])
def test_a_file_that_is_no_state_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "codec.pt").write_bytes(data)
    for read in (travel.minutes_in, lambda state: travel.pack(state, tmp_path / "parts")):
        with pytest.raises(Damaged, match=r"codec\.pt holds no state of training: it cannot be read"):
            read(tmp_path / "codec.pt")
    assert not (tmp_path / "parts").exists()


WHOLE: dict[str, Any] = {"average": {}, "optimisers": [], "step": 1, "spent": 1.0}
WRONG: dict[str, Any] = {"average": {"a": 1}, "optimisers": [{}], "step": "one", "spent": float("nan")}


@pytest.mark.parametrize("stored", [{}, [1], *({**WHOLE, key: value} for key, value in WRONG.items())])
def test_a_file_that_holds_something_else_is_named(stored: Any, tmp_path: Path) -> None:
    torch.save(stored, tmp_path / "codec.pt")
    for read in (travel.minutes_in, lambda state: travel.pack(state, tmp_path / "parts")):
        with pytest.raises(Damaged, match=r"codec\.pt holds no state of training: average"):
            read(tmp_path / "codec.pt")
    data = (tmp_path / "codec.pt").read_bytes()
    (tmp_path / "codec.000").write_bytes(data)
    (tmp_path / "codec.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  codec.000\n")
    with pytest.raises(Damaged, match=r"codec\.sha256 holds no state"):
        travel.unpack(tmp_path / "codec.sha256", tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "names no parts"),
        (b"nonsense\n", "line 1 is not"),
        (b"\xff\xfe\n", "line 1 is not"),
        (b"0" * 64 + b"\n", "line 1"),
    ],
)
def test_a_list_that_is_none_is_named(text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "codec.sha256").write_bytes(text)
    with pytest.raises(Damaged, match=rf"codec\.sha256 {said}"):
        travel.unpack(tmp_path / "codec.sha256", tmp_path / "there")


def test_a_state_with_more_minutes_stays_until_somebody_moves_it_away(trained: Run, tmp_path: Path) -> None:
    *_, listed = travel.pack(trained.path, tmp_path / "parts", LIMIT)
    farther = tmp_path / "there" / "codec.pt"
    farther.parent.mkdir()
    stored = torch.load(trained.path, weights_only=True)
    torch.save({**stored, "spent": stored["spent"] + 1}, farther)
    before = farther.read_bytes()
    with pytest.raises(travel.Behind, match=r"minutes of training, and .* brings .*: move it away first"):
        travel.unpack(listed, farther.parent)
    assert farther.read_bytes() == before
    farther.rename(tmp_path / "away.pt")
    travel.unpack(listed, farther.parent)
    travel.unpack(listed, farther.parent)
    assert travel.minutes_in(farther) == stored["spent"], "as many minutes may replace each other"


def test_vectors_and_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    average = {"count": torch.tensor([123_456_789]), "weight": torch.randn(5)}
    torch.save({"average": average, "model": {}, "step": 9, "spent": 1.5, "optimisers": []}, tmp_path / "a.pt")
    *_, listed = travel.pack(tmp_path / "a.pt", tmp_path / "parts")
    back = torch.load(travel.unpack(listed, tmp_path / "there"), weights_only=True)
    assert all(torch.equal(back["average"][name], value) for name, value in average.items())
    assert (back["step"], back["spent"]) == (9, 1.5)
