from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from moderation.signing import C2PA_CLAIM_SIGNING, development_identity, local_identity

if TYPE_CHECKING:
    from pathlib import Path


def leaf_of(chain_pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain_pem.encode())[0]


def test_the_leaf_is_issued_by_the_root_for_claim_signing_only(tmp_path: Path) -> None:
    identity, root_path = development_identity(tmp_path / "ca")
    root = x509.load_pem_x509_certificate(root_path.read_bytes())
    leaf = leaf_of(identity.chain_pem)
    leaf.verify_directly_issued_by(root)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.EMAIL_PROTECTION, C2PA_CLAIM_SIGNING}
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign


def test_every_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    development_identity(folder)
    assert {path.name for path in folder.iterdir()} == {"root.pem", "root.key", "leaf.pem", "lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_start_keeps_the_identity(tmp_path: Path) -> None:
    first, _ = development_identity(tmp_path)
    second, _ = development_identity(tmp_path)
    assert first.chain_pem == second.chain_pem


def test_a_leaf_about_to_expire_is_renewed_under_the_same_root(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first, root_path = development_identity(tmp_path, now - timedelta(days=340))
    root_pem = root_path.read_bytes()
    second, _ = development_identity(tmp_path, now)
    assert first.chain_pem != second.chain_pem
    assert root_path.read_bytes() == root_pem
    leaf_of(second.chain_pem).verify_directly_issued_by(x509.load_pem_x509_certificate(root_pem))
    assert leaf_of(second.chain_pem).not_valid_after_utc > now + timedelta(days=300)


def chain_from(folder: Path) -> str:
    return development_identity(folder)[0].chain_pem


def test_processes_that_start_together_agree_on_one_identity(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as processes:
        chains = set(processes.map(chain_from, [tmp_path / "ca"] * 8))
    assert len(chains) == 1


def test_a_signature_is_raw_and_verifies_with_the_leafs_key(tmp_path: Path) -> None:
    identity, _ = development_identity(tmp_path)
    signature = identity.sign(b"message")
    assert len(signature) == 64
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    key = leaf_of(identity.chain_pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(der, b"message", ec.ECDSA(hashes.SHA256()))


def test_the_chain_never_carries_the_key(tmp_path: Path) -> None:
    identity, _ = development_identity(tmp_path)
    assert "PRIVATE" not in identity.chain_pem


def test_a_key_of_another_kind_is_refused() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(TypeError, match="P-256"):
        local_identity(pem, "")
