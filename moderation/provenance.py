"""Content Credentials: every file that leaves the service says, under signature, that a model made it."""
# pyright: reportUnknownMemberType=false
# c2pa-python annotates with bare containers.

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import c2pa

from moderation.manifest import ACTIONS, DISCLOSURE, NAMESPACE, Facts, ManifestError, disclosure_faults, ingredients
from moderation.manifest import manifest as manifest_of
from moderation.verification import State, Verification

if TYPE_CHECKING:
    from moderation.signing import Identity

MIME_BY_SUFFIX = {".mp4": "video/mp4", ".webp": "image/webp", ".jpg": "image/jpeg"}
SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "core": {"backing_store_memory_threshold_in_mb": 32},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True, "verify_after_sign": True},
}


class SigningError(Exception):
    """The file could not be signed; nothing was written. Never publish the unsigned file instead."""


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A published artefact: what its row in `objects` needs."""

    path: Path
    mime: str
    sha256: str
    size: int  # bytes


class Notary:
    """Signs results under one identity. Cheap to make; the native signer is made at the first use in a process."""

    def __init__(self, identity: Identity, version: str) -> None:
        self._identity = identity
        self._version = version
        self._lock = threading.Lock()
        self._opened: tuple[int, c2pa.Context] | None = None
        self._cause = threading.local()

    def sign(self, source: Path, dest: Path, facts: Facts) -> SignedFile:
        """Write a signed copy of `source` (.mp4, .webp or .jpg) to `dest`.

        The claim is verified before `dest` appears, all at once. Raises SigningError; then `dest` is as before.
        """
        draft = dest.with_name(f".{dest.name}.{os.getpid()}.{threading.get_ident()}.signing")
        self._cause.error = None
        try:
            mime = MIME_BY_SUFFIX[source.suffix]
            with self._builder(facts, mime) as builder, source.open("rb") as unsigned, draft.open("w+b") as signed:
                builder.sign(mime, unsigned, signed)
            signed_file = _measured(draft, dest, mime)
            draft.replace(dest)
        except KeyError as error:
            raise SigningError(f"no credentials can be put into {source.suffix!r}") from error
        except (c2pa.C2paError, ManifestError, OSError) as error:
            raise SigningError(f"{source.name} was not signed: {error}") from (self._cause.error or error)
        finally:
            draft.unlink(missing_ok=True)
        return signed_file

    def _builder(self, facts: Facts, mime: str) -> c2pa.Builder:
        builder = c2pa.Builder(manifest_of(facts, mime, self._version), self._context())
        for entry, described in ingredients(facts):
            with _opened(entry.content) as content:
                builder.add_ingredient(described, entry.mime, content)
        return builder

    def _context(self) -> c2pa.Context:
        # A context made before a fork is refused in the child, so it is kept per process.
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                signer = c2pa.Signer.from_callback(self._sign, c2pa.C2paSigningAlg.ES256, self._identity.chain_pem)
                self._opened = (os.getpid(), c2pa.Context.from_dict(SETTINGS, signer))
            return self._opened[1]

    def _sign(self, message: bytes) -> bytes:
        # The library swallows what a callback raises; the real cause waits here for `sign`.
        try:
            return self._identity.sign(message)
        except Exception as error:
            self._cause.error = error
            raise


def verify(asset: Path | bytes, mime: str, trust_root_pem: str | None = None) -> Verification:
    """Read and check the credentials of an untrusted file; fetches nothing from anywhere.

    Without `trust_root_pem` the best state is "valid". A file that cannot be parsed at all is "invalid".
    """
    try:
        if isinstance(asset, bytes):
            return _verify(io.BytesIO(asset), mime, trust_root_pem)
        with asset.open("rb") as stream:
            return _verify(stream, mime, trust_root_pem)
    # The claim is untrusted JSON: one that has not even the expected shape is as broken as one that does not parse.
    except (c2pa.C2paError, LookupError, TypeError, AttributeError, ValueError) as error:
        return Verification("invalid", (f"kinema.unreadable: {error}",))


def _verify(stream: BinaryIO, mime: str, trust_root_pem: str | None) -> Verification:
    trust = {"trust": {"trust_anchors": trust_root_pem}} if trust_root_pem else {}
    with c2pa.Context.from_dict({**SETTINGS, **trust}) as context:
        reader = c2pa.Reader.try_create(mime, stream, context=context)
        if reader is None:
            return Verification("absent")
        with reader:
            return _read(reader)


def _read(reader: c2pa.Reader) -> Verification:
    report: dict[str, Any] = json.loads(reader.json())
    active: dict[str, Any] = report["manifests"][report["active_manifest"]]
    data: dict[str, dict[str, Any]] = {each["label"]: each["data"] for each in active.get("assertions", [])}
    faults = disclosure_faults(data[DISCLOSURE]) if DISCLOSURE in data else []
    made = _making(data)
    parameters: dict[str, Any] = made.get("parameters", {})
    generators: list[dict[str, Any]] = active.get("claim_generator_info", [])
    return Verification(
        state="invalid" if faults else _state(reader.get_validation_state()),
        problems=(*_failures(report), *(f"kinema.aiDisclosure: {fault}" for fault in faults)),
        signer=_text(active.get("signature_info", {}).get("common_name")),
        generator=_text(generators[0].get("name") if generators else None),
        created_at=_text(made.get("when")),
        digital_source_type=_text(made.get("digitalSourceType")),
        video_id=_text(parameters.get(f"{NAMESPACE}.video")),
        model=_text(parameters.get(f"{NAMESPACE}.model")),
        ingredients=tuple(str(each.get("relationship")) for each in active.get("ingredients", [])),
        prompt_digest=_text(parameters.get(f"{NAMESPACE}.prompt_hmac_sha256")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _making(data: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The action that made the clip, from nothing or from its source."""
    actions: list[dict[str, Any]] = data.get(ACTIONS, {}).get("actions", [])
    making = [each for each in actions if each.get("action") in {"c2pa.created", "c2pa.edited"}]
    return making[0] if making else {}


def _opened(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _failures(report: dict[str, Any]) -> tuple[str, ...]:
    results: dict[str, Any] = report.get("validation_results", {})
    active = results.get("activeManifest", {}).get("failure", [])
    deltas = [each.get("validationDeltas", {}).get("failure", []) for each in results.get("ingredientDeltas", [])]
    return tuple(entry["code"] for failures in (active, *deltas) for entry in failures)


def _state(native: str | None) -> State:
    match native:
        case "Trusted":
            return "trusted"
        case "Valid":
            return "valid"
        case _:
            return "invalid"


def _measured(path: Path, dest: Path, mime: str) -> SignedFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SignedFile(dest, mime, digest, path.stat().st_size)
