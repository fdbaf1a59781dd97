"""When a delivery is tried, and what an answer means."""

import random
from dataclasses import dataclass
from typing import Final, Literal

from service.domain.ids import OrgId

DeliveryStatus = Literal["pending", "delivered", "exhausted"]
Endpoint = tuple[OrgId, str]  # organization, webhook

_MINUTE: Final = 60
_HOUR: Final = 3600
_WAITS_S: Final = (
    5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR,
)  # fmt: skip
MAX_ATTEMPTS: Final = len(_WAITS_S) + 1
_SPREAD: Final = 0.2
_LONGEST_RETRY_AFTER_S: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What came of one attempt: a status, or the reason why there is none. `response` is its first bytes as text."""

    status: int | None
    latency_ms: int
    error: str | None = None
    response: str = ""
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        """Only a 2xx that came whole is success; a redirect is none."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants no more of this."""
        return self.status == 410


def next_wait_s(tries: int, retry_after_s: float | None = None) -> float | None:
    """Seconds until the next try after so many, or None where there is no further one."""
    if tries >= MAX_ATTEMPTS:
        return None
    wait_s = _WAITS_S[tries - 1] * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - spreads load
    return max(wait_s, min(retry_after_s or 0, _LONGEST_RETRY_AFTER_S))
