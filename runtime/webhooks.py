"""One webhook on its way out: signed at this moment and sent through the egress."""

from __future__ import annotations

import time
from collections.abc import Sequence

from domain.deliveries import Attempt
from domain.webhooks import headers
from runtime.egress import Egress

USER_AGENT = "Kinema-Webhooks/1"


def send(egress: Egress, url: str, message_id: str, body: bytes, secrets: Sequence[str]) -> Attempt:
    """Send once and say what happened.

    Signed at the moment of sending: receivers refuse a signature that is five minutes old.
    """
    signed = headers(message_id, int(time.time()), body, secrets)
    return egress.post(url, {**signed, "content-type": "application/json", "user-agent": USER_AGENT}, body)
