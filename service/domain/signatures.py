"""Webhook signatures: the headers of the Standard Webhooks specification and of the Zof conventions."""

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

ROTATION_OVERLAP: Final = timedelta(hours=24)  # how long the previous secret also signs after a rotation

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_webhook_secret() -> str:
    """Return a new secret in the form that the owner receives: `whsec_` and the base64 of 32 random bytes."""
    return _PREFIX + b64encode(os.urandom(_SECRET_BYTES)).decode()


def signed_headers(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers with which a receiver verifies the sender, the body, and the time (seconds since 1970).

    `webhook-signature` contains one signature per secret, that of the current secret first. `X-Zof-Signature` is
    computed only from the current secret, and its key is the secret as it was shown, including the prefix.
    """
    content = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_standard_signature(secret, content)}" for secret in secrets),
        "X-Zof-Signature": hmac.digest(secrets[0].encode(), body, "sha256").hex(),
    }


def _standard_signature(secret: str, content: bytes) -> str:
    return b64encode(hmac.digest(b64decode(secret.removeprefix(_PREFIX)), content, "sha256")).decode()
