from __future__ import annotations

import random
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from domain.errors import Unavailable
from engines.encode import Drafts
from moderation import detector
from moderation.detector import TEXT_LIMIT, detect, kind_of
from moderation.provenance import Notary, SignedFile, verify
from tests.moderation.test_provenance import KINDS, MIMES, authority, drafts, facts, notary, signed_drafts

__all__ = ["authority", "drafts", "notary", "signed_drafts"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_child_finds_what_the_library_finds(
    kind: str, signed_drafts: dict[str, SignedFile], authority: tuple[object, str]
) -> None:
    content = signed_drafts[kind].path.read_bytes()
    mime = kind_of(content)
    assert mime == MIMES[kind]
    found = detect(content, mime, authority[1])
    assert found == verify(content, mime, authority[1])
    assert (found.state, found.video_id is not None, found.prompt_digest is not None) == ("trusted", True, True)
    assert detect(content, mime, None).state == "valid"


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_invalid(
    kind: str, signed_drafts: dict[str, SignedFile], authority: tuple[object, str]
) -> None:
    content = bytearray(signed_drafts[kind].path.read_bytes())
    content[-20] ^= 1
    assert detect(bytes(content), MIMES[kind], authority[1]).state == "invalid"


def test_a_file_without_credentials_has_none(tmp_path: Path) -> None:
    path = tmp_path / "plain.jpg"
    Image.new("RGB", (64, 64), "red").save(path)
    assert detect(path.read_bytes(), "image/jpeg", None).state == "absent"


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_gets_past_the_child(kind: str, signed_drafts: dict[str, SignedFile]) -> None:
    dice = random.Random(7)
    whole = signed_drafts[kind].path.read_bytes()
    for _ in range(4):
        broken = bytearray(whole[: dice.randrange(len(whole))])
        for _ in range(20):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        assert detect(bytes(broken), MIMES[kind], None).state in {"invalid", "absent"}


@pytest.mark.parametrize(
    "hostile",
    [
        struct.pack(">I4s", 8, b"ftyp") * 200_000,
        struct.pack(">I4sQ", 1, b"ftyp", 2**63),
        struct.pack(">I4s", 24, b"ftyp") + b"isom" + bytes(12) + struct.pack(">I4s", 2**32 - 1, b"uuid"),
        b"\0\0\0\x18ftypisom"
        + bytes(12)
        + b"".join(struct.pack(">I4s", 2**20 - 8 * n, b"moov") for n in range(50_000)),
    ],
    ids=["endless boxes", "a box of 2^63 bytes", "a claim that ends beyond the file", "boxes in boxes"],
)
def test_a_hostile_file_is_answered_within_bounds(hostile: bytes) -> None:
    assert kind_of(hostile) == "video/mp4"
    assert detect(hostile, "video/mp4", None).state in {"invalid", "absent"}


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"ftyp", b"RIFF1234WAVE"])
def test_other_kinds_of_files_are_not_taken(content: bytes) -> None:
    assert kind_of(content) is None


def test_a_child_that_does_not_begin_is_no_answer_about_the_file(
    signed_drafts: dict[str, SignedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = signed_drafts["thumbnail"].path.read_bytes()
    with monkeypatch.context() as slow:
        slow.setattr(detector, "WALL_SECONDS", 0.001)
        with pytest.raises(Unavailable):
            detect(content, "image/webp", None)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        with pytest.raises(Unavailable):
            detect(content, "image/webp", None)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os.abort()", "bytearray(2 ** 40)", "time.sleep(60)"])
def test_whatever_the_file_does_to_the_child_is_an_answer_about_the_file(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"import os, time; os.write(1, {detector.READY!r}); {end}"
    real = detector._run
    monkeypatch.setattr(detector, "_run", lambda _, file: real([sys.executable, "-c", program], file))
    monkeypatch.setattr(detector, "WALL_SECONDS", 3.0)
    found = detect(b"\xff\xd8\xff", "image/jpeg", None)
    assert (found.state, found.problems) == ("invalid", ("kinema.unreadable",))


def test_texts_of_a_file_are_cut(notary: Notary, drafts: Drafts, tmp_path: Path) -> None:
    long = replace(facts(), video_id="v" * 5_000)
    signed = notary.sign(drafts.thumbnail, tmp_path / "long.webp", long)
    assert detect(signed.path.read_bytes(), "image/webp", None).video_id == "v" * TEXT_LIMIT
