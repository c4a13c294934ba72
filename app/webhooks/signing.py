"""Signatures by Standard Webhooks 1.0 (github.com/standard-webhooks), which libraries of many languages check."""

from __future__ import annotations

import base64
import hashlib
import hmac


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one try: which message it is, when it was sent, and that it comes from who knows ``secret``.

    ``secret`` is ``whsec_`` and base64; ``timestamp`` is in seconds since 1970. The same message keeps its id in every try.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
