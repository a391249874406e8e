from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from PIL import Image

from domain.video import Plan, Size
from engines.encode import Drafts, encode
from moderation.manifest import (
    COMPOSED,
    GENERATED,
    Facts,
    Input,
    ManifestError,
    disclosure_faults,
    manifest,
    prompt_digest,
)
from moderation.provenance import Notary, SignedFile, SigningError, verify
from moderation.signing import Identity, development_identity, issue_leaf, issue_root, local_identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIMES = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
PIXELS = {"video": b"mdat", "thumbnail": b"VP8 ", "spritesheet": b"\xff\xda"}  # where each file's picture starts
KINDS = tuple(MIMES)


@pytest.fixture(scope="session")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Drafts:
    size = Size(128, 128)
    plan = Plan("dit", "noise", 1, size, 8, size, 24, seed=1, steps=1, guidance=1.0)
    frames_THWC = np.random.default_rng(1).integers(0, 256, (8, 128, 128, 3), np.uint8)
    return encode([frames_THWC], plan, tmp_path_factory.mktemp("drafts"), lambda _done, _total: None)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, str]:
    identity, root_path = development_identity(tmp_path_factory.mktemp("authority"))
    return identity, root_path.read_text()


@pytest.fixture
def notary(authority: tuple[Identity, str]) -> Notary:
    return Notary(authority[0], "0.1.0")


@pytest.fixture(scope="session")
def root_pem(authority: tuple[Identity, str]) -> str:
    return authority[1]


@pytest.fixture
def signed_drafts(drafts: Drafts, notary: Notary, tmp_path: Path) -> dict[str, SignedFile]:
    sources: dict[str, Path] = {kind: getattr(drafts, kind) for kind in KINDS}
    return {kind: notary.sign(source, tmp_path / source.name, facts()) for kind, source in sources.items()}


def facts(*inputs: Input, source: Input | None = None) -> Facts:
    digest = prompt_digest("a red ball", b"key")
    return Facts("video_1", "dit", "ab" * 32, digest, datetime(2026, 11, 1, 12, tzinfo=UTC), inputs, source)


@pytest.fixture
def second_opinion(monkeypatch: pytest.MonkeyPatch, root_pem: str) -> Callable[[bytes, str], str]:
    """What an unrelated verifier says; it must be told to stay silent before it is imported."""
    monkeypatch.setenv("ENCYPHER_C2PA_TELEMETRY", "off")
    import encypher_c2pa  # noqa: PLC0415 - see above

    def verified(asset: bytes, mime: str) -> str:
        report = encypher_c2pa.verify(asset, mime, trust_pem=root_pem, no_default_trust=True)
        return str(report["validation_state"]).lower()

    return verified


def report_of(path: Path, mime: str) -> dict[str, Any]:
    with path.open("rb") as stream, c2pa.Reader(mime, stream) as reader:
        report = json.loads(reader.json())
    return report["manifests"][report["active_manifest"]]


def assertion(active: dict[str, Any], label: str) -> dict[str, Any]:
    return next(each for each in active["assertions"] if each["label"] == label)


@pytest.mark.parametrize("kind", KINDS)
def test_two_unrelated_verifiers_trust_a_signed_file(
    kind: str, signed_drafts: dict[str, SignedFile], root_pem: str, second_opinion: Callable[[bytes, str], str]
) -> None:
    signed = signed_drafts[kind]
    found = verify(signed.path, MIMES[kind], root_pem)
    assert (found.state, found.problems) == ("trusted", ())
    assert second_opinion(signed.path.read_bytes(), MIMES[kind]) == "trusted"
    assert (found.video_id, found.model, found.generator) == ("video_1", "dit", "Kinema")
    assert (found.created_at, found.digital_source_type) == ("2026-11-01T12:00:00Z", GENERATED)
    assert found.signer == "Kinema development signer"


@pytest.mark.parametrize("kind", KINDS)
def test_one_flipped_byte_of_the_picture_makes_both_refuse(
    kind: str, signed_drafts: dict[str, SignedFile], root_pem: str, second_opinion: Callable[[bytes, str], str]
) -> None:
    data = bytearray(signed_drafts[kind].path.read_bytes())
    data[data.index(PIXELS[kind]) + 500] ^= 1
    found = verify(bytes(data), MIMES[kind], root_pem)
    assert found.state == "invalid"
    assert any("mismatch" in problem for problem in found.problems)
    assert second_opinion(bytes(data), MIMES[kind]) == "invalid"


def test_one_flipped_byte_of_the_claim_makes_both_refuse(
    drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path, second_opinion: Callable[[bytes, str], str]
) -> None:
    data = notary.sign(drafts.video, tmp_path / "v.mp4", facts()).path.read_bytes()
    forged = data.replace(b"a video model", b"a human being", 1)
    assert forged != data
    assert verify(forged, "video/mp4", root_pem).state == "invalid"
    assert second_opinion(forged, "video/mp4") == "invalid"


def test_an_unsigned_file_makes_no_claim(drafts: Drafts, root_pem: str) -> None:
    assert verify(drafts.video, "video/mp4", root_pem).state == "absent"


def test_without_our_root_a_signed_file_is_valid_but_not_trusted(
    drafts: Drafts, notary: Notary, tmp_path: Path
) -> None:
    signed = notary.sign(drafts.video, tmp_path / "v.mp4", facts())
    _, stranger = issue_root(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    other_root = stranger.public_bytes(serialization.Encoding.PEM).decode()
    assert verify(signed.path, "video/mp4").state == "valid"
    assert verify(signed.path, "video/mp4", other_root).state == "valid"
    assert "signingCredential.untrusted" in verify(signed.path, "video/mp4", other_root).problems


@pytest.mark.parametrize("data", [b"", b"no media at all", b"\x00\x00\x00\x18ftypmp42"])
def test_what_cannot_be_parsed_is_never_called_valid(data: bytes) -> None:
    assert verify(data, "video/mp4").state in {"invalid", "absent"}


def test_a_cut_file_is_invalid(drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path) -> None:
    data = notary.sign(drafts.video, tmp_path / "v.mp4", facts()).path.read_bytes()
    assert verify(data[: len(data) // 2], "video/mp4", root_pem).state == "invalid"


def test_the_claim_is_attributed_to_the_signer_and_complete(drafts: Drafts, notary: Notary, tmp_path: Path) -> None:
    active = report_of(notary.sign(drafts.video, tmp_path / "v.mp4", facts()).path, "video/mp4")
    assert all(each["created"] for each in active["assertions"])
    [action] = assertion(active, "c2pa.actions.v2")["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["softwareAgent"] == {"name": "Kinema", "version": "0.1.0"}
    assert action["parameters"] == {
        "org.kinema.video": "video_1",
        "org.kinema.model": "dit",
        "org.kinema.checkpoint": "ab" * 32,
        "org.kinema.prompt_hmac_sha256": prompt_digest("a red ball", b"key"),
    }
    entries = assertion(active, "cawg.training-mining")["data"]["entries"]
    assert len(entries) == 4
    assert {entry["use"] for entry in entries.values()} == {"notAllowed"}
    assert disclosure_faults(assertion(active, "c2pa.ai-disclosure")["data"]) == []
    assert "thumbnail" not in active


def test_the_prompt_itself_is_nowhere_in_the_file(drafts: Drafts, notary: Notary, tmp_path: Path) -> None:
    assert b"red ball" not in notary.sign(drafts.video, tmp_path / "v.mp4", facts()).path.read_bytes()


def test_a_first_frame_becomes_an_input_of_the_created_action(
    drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path, second_opinion: Callable[[bytes, str], str]
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    signed = notary.sign(drafts.video, tmp_path / "v.mp4", facts(Input("first-frame", "image/png", picture.getvalue())))
    found = verify(signed.path, "video/mp4", root_pem)
    assert (found.state, found.ingredients) == ("trusted", ("inputTo",))
    assert second_opinion(signed.path.read_bytes(), "video/mp4") == "trusted"
    [action] = assertion(report_of(signed.path, "video/mp4"), "c2pa.actions.v2")["data"]["actions"]
    assert len(action["parameters"]["ingredients"]) == 1


def test_an_edit_opens_its_source_and_keeps_its_history(
    drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path, second_opinion: Callable[[bytes, str], str]
) -> None:
    parent = notary.sign(drafts.video, tmp_path / "parent.mp4", facts())
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    shown = Input("last-frame", "image/png", picture.getvalue())
    edited = facts(shown, source=Input("source", "video/mp4", parent.path))
    signed = notary.sign(drafts.video, tmp_path / "v.mp4", edited)
    found = verify(signed.path, "video/mp4", root_pem)
    assert (found.state, found.ingredients) == ("trusted", ("parentOf", "inputTo")), found.problems
    assert (found.digital_source_type, found.model) == (COMPOSED, "dit")
    assert second_opinion(signed.path.read_bytes(), "video/mp4") == "trusted"
    report = report_of(signed.path, "video/mp4")
    opened, made = assertion(report, "c2pa.actions.v2")["data"]["actions"]
    assert (opened["action"], made["action"]) == ("c2pa.opened", "c2pa.edited")


def test_the_returned_digest_and_size_are_those_of_the_file(drafts: Drafts, notary: Notary, tmp_path: Path) -> None:
    signed = notary.sign(drafts.video, tmp_path / "v.mp4", facts())
    data = signed.path.read_bytes()
    assert (signed.sha256, signed.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert signed.mime == "video/mp4"


def refuses_to_sign(identity: Identity, drafts: Drafts, tmp_path: Path) -> SigningError:
    with pytest.raises(SigningError) as caught:
        Notary(identity, "0.1.0").sign(drafts.video, tmp_path / "v.mp4", facts())
    assert list(tmp_path.iterdir()) == []
    return caught.value


def test_a_key_that_is_not_the_certificates_publishes_nothing(
    authority: tuple[Identity, str], drafts: Drafts, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger, _ = development_identity(tmp_path_factory.mktemp("stranger"))
    refuses_to_sign(Identity(authority[0].chain_pem, stranger.sign), drafts, tmp_path)


def test_an_expired_certificate_publishes_nothing(drafts: Drafts, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    root_key, root = issue_root(now - timedelta(days=30), now + timedelta(days=30))
    key, leaf = issue_leaf(root, root_key, now - timedelta(days=20), now - timedelta(days=1))
    refuses_to_sign(identity_of(key, leaf), drafts, tmp_path)


def identity_of(key: Any, leaf: x509.Certificate) -> Identity:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return local_identity(pem, leaf.public_bytes(serialization.Encoding.PEM).decode())


def test_the_cause_of_a_failing_key_service_is_kept(
    authority: tuple[Identity, str], drafts: Drafts, tmp_path: Path
) -> None:
    def unreachable(_message: bytes) -> bytes:
        raise ConnectionError("key service is away")

    error = refuses_to_sign(Identity(authority[0].chain_pem, unreachable), drafts, tmp_path)
    assert isinstance(error.__cause__, ConnectionError)


def test_a_file_already_published_survives_a_failed_signing(
    authority: tuple[Identity, str], drafts: Drafts, tmp_path: Path
) -> None:
    dest = tmp_path / "v.mp4"
    dest.write_bytes(b"earlier")
    with pytest.raises(SigningError):
        Notary(Identity(authority[0].chain_pem, lambda _message: bytes(64)), "0.1.0").sign(drafts.video, dest, facts())
    assert dest.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [dest]


@pytest.mark.parametrize("name", ["clip.webm", "clip.mp4"], ids=["unsupported", "not a video"])
def test_a_file_that_cannot_carry_a_claim_is_refused(name: str, notary: Notary, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes(b"something else")
    with pytest.raises(SigningError):
        notary.sign(source, tmp_path / "out", facts())
    assert list(tmp_path.iterdir()) == [source]


def test_one_notary_signs_from_many_threads(drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path) -> None:
    def sign(index: int) -> str:
        return verify(
            notary.sign(drafts.thumbnail, tmp_path / f"{index}.webp", facts()).path, "image/webp", root_pem
        ).state

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(sign, range(40))) == {"trusted"}


def test_a_notary_used_before_a_fork_works_in_the_child(
    drafts: Drafts, notary: Notary, root_pem: str, tmp_path: Path
) -> None:
    notary.sign(drafts.thumbnail, tmp_path / "parent.webp", facts())
    child = multiprocessing.get_context("fork").Process(
        target=notary.sign, args=(drafts.thumbnail, tmp_path / "child.webp", facts())
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert verify(tmp_path / "child.webp", "image/webp", root_pem).state == "trusted"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({}, "modelType is required"),
        ({"modelType": ""}, "modelType is required"),
        ({"modelType": "c2pa.types.model", "modelName": 3}, "modelName must be a text"),
        ({"modelType": "c2pa.types.model", "contentProfile": {"humanOversightLevel": "none"}}, "humanOversightLevel"),
        ({"modelType": "c2pa.types.model", "contentProfile": []}, "contentProfile must be an object"),
    ],
)
def test_a_malformed_disclosure_is_found(data: dict[str, Any], fault: str) -> None:
    assert fault in " ".join(disclosure_faults(data))


def test_a_malformed_disclosure_in_a_file_is_invalid_though_the_signature_holds(
    authority: tuple[Identity, str], drafts: Drafts, root_pem: str
) -> None:
    definition = manifest(facts(), "image/jpeg", "0.1.0")
    definition["assertions"][2]["data"].pop("modelType")
    signer = c2pa.Signer.from_callback(authority[0].sign, c2pa.C2paSigningAlg.ES256, authority[0].chain_pem)
    signed = io.BytesIO()
    with drafts.spritesheet.open("rb") as source, c2pa.Builder(definition) as builder:
        builder.sign(signer, "image/jpeg", source, signed)
    found = verify(signed.getvalue(), "image/jpeg", root_pem)
    assert found.state == "invalid"
    assert found.problems == ("kinema.aiDisclosure: modelType is required",)


def test_facts_without_a_time_zone_make_no_manifest() -> None:
    naive = Facts("video_1", "dit", "", "ab", datetime(2026, 11, 1))  # noqa: DTZ001 - the point
    with pytest.raises(ManifestError, match="time zone"):
        manifest(naive, "video/mp4", "0.1.0")


def test_a_prompt_digest_depends_on_the_key() -> None:
    assert prompt_digest("a", b"one") != prompt_digest("a", b"two")
    assert len(prompt_digest("a", b"one")) == 64
