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
_MIN_KEY_BYTES: Final = 24
_MAX_KEY_BYTES: Final = 64
MIN_SECRET_CHARS: Final = 16
MAX_SECRET_CHARS: Final = 256


def check_webhook_secret(secret: str) -> str:
    """Return a secret that a client chose, if it's valid. Raises ValueError.

    `whsec_` is followed by the base64 of the key. A secret without this prefix is itself the key.
    """
    if not secret.startswith(_PREFIX):
        if not (MIN_SECRET_CHARS <= len(secret) <= MAX_SECRET_CHARS and secret.isprintable()):
            raise ValueError(f"must have {MIN_SECRET_CHARS} to {MAX_SECRET_CHARS} printable characters")
        return secret
    try:
        size = len(b64decode(secret.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not _MIN_KEY_BYTES <= size <= _MAX_KEY_BYTES:
        raise ValueError(f"must be {_PREFIX} and the base64 of {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes")
    return secret


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
    key = b64decode(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else secret.encode()
    return b64encode(hmac.digest(key, content, "sha256")).decode()
