"""Webhook deliveries: the outcome of an attempt, the retry schedule, and the circuit breaker."""

import hmac
import os
import random
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from service.domain.ids import OrgId

DeliveryStatus = Literal["pending", "delivered", "exhausted"]
WebhookFormat = Literal["standard", "slack", "teams"]  # the envelope of the event, or a message for people
Endpoint = tuple[OrgId, str]  # organization, webhook

# The newest attempts of a delivery that are stored: all of the longest retry schedule, and some before a redelivery.
MAX_LOGGED_ATTEMPTS: Final = 60

MAX_MESSAGES: Final = 20  # of a webhook with a format of messages, per hour; a summary contains the others
MAX_SUBJECTS: Final = 10  # that a summary names
NOTICE_STEP: Final = 1_000  # notices of one plan

_LEASED_ATTEMPTS: Final = 4

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
ROTATION_OVERLAP: Final = timedelta(hours=24)  # how long the previous secret also signs after a rotation

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_MIN_KEY_BYTES: Final = 24
_MAX_KEY_BYTES: Final = 64
MIN_SECRET_CHARS: Final = 16
MAX_SECRET_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """The retry schedule, the time limits, and the circuit breaker of webhook deliveries. Settings can override it."""

    # The delays after the first, second, … failed attempt. A failure after the last delay exhausts the
    # delivery.
    retry_delays_s: tuple[float, ...] = (
        5, 5 * _MINUTE_S, 30 * _MINUTE_S, 2 * _HOUR_S, 5 * _HOUR_S, 10 * _HOUR_S, 14 * _HOUR_S, 20 * _HOUR_S,
        24 * _HOUR_S,
    )  # fmt: skip
    jitter: float = 0.2  # each delay varies by this fraction in both directions
    max_retry_after_s: float = 24 * _HOUR_S
    attempt_timeout_s: float = 15
    initial_concurrency: int = 4  # concurrent attempts to an endpoint before its first success
    max_concurrency: int = 50
    breaker_failures: int = 5  # consecutive failures that open the circuit breaker
    breaker_min_pause_s: float = 10
    breaker_max_pause_s: float = 5 * _MINUTE_S
    disable_after_days: float = 5  # of failures without one success

    @property
    def max_attempts(self) -> int:
        """The number of attempts after which a delivery is exhausted."""
        return len(self.retry_delays_s) + 1

    @property
    def lease(self) -> timedelta:
        """The duration of a lease: several attempts, so that leased deliveries can wait for an attempt."""
        return timedelta(seconds=_LEASED_ATTEMPTS * self.attempt_timeout_s)

    @property
    def longest_wait_s(self) -> float:
        """The time after leasing in which an attempt can start. It then ends before the lease, which has a reserve."""
        return (_LEASED_ATTEMPTS - 2) * self.attempt_timeout_s

    @property
    def disable_after(self) -> timedelta:
        """The time after which the webhook of a failing endpoint is disabled."""
        return timedelta(days=self.disable_after_days)

    def retry_delay_s(self, attempt_count: int, retry_after_s: float | None = None) -> float | None:
        """Return the seconds until the next attempt after `attempt_count` attempts, or None after the last attempt."""
        if attempt_count >= self.max_attempts:
            return None
        spread = random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - spreads load
        return max(self.retry_delays_s[attempt_count - 1] * spread, min(retry_after_s or 0, self.max_retry_after_s))


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """The outcome of one attempt: a status code, or an error. `response` is the start of the response body as text."""

    status: int | None
    latency_ms: int
    error: str | None = None
    response: str = ""
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether a complete 2xx response arrived. A redirect is a failure."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver permanently rejects deliveries (410 Gone)."""
        return self.status == 410


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

    `webhook-signature` contains one signature per secret, starting with the current secret. `X-Zof-Signature` is
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
