"""Whose name stands under a result: the signing identity, and a development authority that issues one.

Production hands `Identity` a certificate chain from a real authority and a `sign` that calls its key service.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

C2PA_CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
ROOT_YEARS = 10
LEAF_DAYS = 365
RENEW_DAYS = 30
BACKDATED = timedelta(minutes=5)  # clocks of verifiers may run behind
COORDINATE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: an ES256 certificate chain and the one operation that its key performs.

    `sign` gets the bytes to sign, about 2 KB whatever the size of the file, once per file, and returns the ECDSA
    P-256 / SHA-256 signature, raw (r then s, 64 bytes) or DER. It may be called from several threads.
    """

    chain_pem: str  # the leaf first, then intermediates; not the root
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class DevelopmentAuthority:
    """Paths of a throw-away authority. Every file is 0600; only `root_certificate` may be handed out."""

    folder: Path

    @property
    def root_certificate(self) -> Path:
        """The trust root: whoever verifies our results is given this file (PEM)."""
        return self.folder / "root.pem"

    @property
    def root_key(self) -> Path:
        """Signs leaves; needed again when a leaf is renewed."""
        return self.folder / "root.key"

    @property
    def leaf(self) -> Path:
        """Key and certificate in one file, so that a reader never sees a mixed pair."""
        return self.folder / "leaf.pem"


def development_identity(folder: Path, now: datetime | None = None) -> tuple[Identity, Path]:
    """Return the identity kept in `folder` and the path of its trust root, making what is missing or about to expire.

    Safe to call from many processes at once. A leaf is renewed 30 days before it ends; the root stays.
    """
    now = now or datetime.now(UTC)
    authority = DevelopmentAuthority(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if not authority.root_certificate.exists():
            _make_root(authority, now)
        if not authority.leaf.exists() or _ends(authority.leaf) < now + timedelta(days=RENEW_DAYS):
            _make_leaf(authority, now)
        pem = authority.leaf.read_bytes()
    return local_identity(pem, pem.decode()), authority.root_certificate


def local_identity(key_pem: bytes, chain_pem: str) -> Identity:
    """An identity whose P-256 key is at hand as PEM. Raises TypeError for any other kind of key."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError("the signing key must be an EC P-256 key")
    certificates = x509.load_pem_x509_certificates(chain_pem.encode())
    chain = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)

    return Identity(chain.decode(), sign)


def issue_leaf(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, starts: datetime, ends: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Issue a claim-signing certificate for a new key, with the extensions that C2PA verifiers ask for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _certificate("Kinema development signer", root.subject, key, starts, ends)
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, C2PA_CLAIM_SIGNING])
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(authority_key, critical=False)
    )
    return key, builder.sign(root_key, hashes.SHA256())


def issue_root(starts: datetime, ends: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Make a self-signed root that may issue leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Kinema development root")
    builder = _certificate("Kinema development root", subject, key, starts, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
        _key_usage(signs_certificates=True), critical=True
    )
    return key, builder.sign(key, hashes.SHA256())


def _make_root(authority: DevelopmentAuthority, now: datetime) -> None:
    key, certificate = issue_root(now - BACKDATED, now + timedelta(days=365 * ROOT_YEARS))
    _write_private(authority.root_key, _key_pem(key))
    _write_private(authority.root_certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _make_leaf(authority: DevelopmentAuthority, now: datetime) -> None:
    root = x509.load_pem_x509_certificate(authority.root_certificate.read_bytes())
    root_key = serialization.load_pem_private_key(authority.root_key.read_bytes(), password=None)
    if not isinstance(root_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{authority.root_key} holds no EC key")
    ends = min(now + timedelta(days=LEAF_DAYS), root.not_valid_after_utc)
    key, certificate = issue_leaf(root, root_key, now - BACKDATED, ends)
    _write_private(authority.leaf, _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))


def _certificate(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kinema development, not for production")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _ends(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _write_private(path: Path, data: bytes) -> None:
    """Write by rename, so that a crash never leaves half a file; 0600 from the first byte on."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
