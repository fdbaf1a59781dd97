"""How webhooks are signed: the headers of Standard Webhooks and of the Zof conventions."""

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_webhook_secret() -> str:
    """A new secret, as its owner gets it: `whsec_` and the base64 of 32 random bytes."""
    return _PREFIX + b64encode(os.urandom(_SECRET_BYTES)).decode()


def signed_headers(event_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that prove to a receiver who sent this body and when (s since 1970).

    Each secret signs, the current one first; X-Zof-Signature knows only that one, keyed with it as it was shown.
    """
    content = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_standard(secret, content)}" for secret in secrets),
        "X-Zof-Signature": hmac.digest(secrets[0].encode(), body, "sha256").hex(),
    }


def _standard(secret: str, content: bytes) -> str:
    return b64encode(hmac.digest(b64decode(secret.removeprefix(_PREFIX)), content, "sha256")).decode()
