"""What a file says about its origin, and whether that holds. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["trusted", "valid", "invalid", "absent"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What a file says about its origin, and whether that holds.

    trusted: signed by somebody under the given root, unchanged since. valid: unchanged, signer unknown.
    invalid: changed, or the claim is broken. absent: no claim at all. All texts come from the file and are
    untrusted: escape them on display.
    """

    state: State
    problems: tuple[str, ...] = ()  # C2PA status codes, ours start with "kinema."
    signer: str | None = None
    generator: str | None = None
    created_at: str | None = None
    digital_source_type: str | None = None
    video_id: str | None = None
    model: str | None = None
    ingredients: tuple[str, ...] = ()  # relationship of each
    prompt_digest: str | None = None  # HMAC-SHA256, in hexadecimal digits
