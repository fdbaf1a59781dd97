"""How long to wait before the next try."""

import random
from collections.abc import Iterator


def backoff_delays(first_s: float, longest_s: float, spread: float = 0.2) -> Iterator[float]:
    """Seconds between tries, without end: doubling from the first to the longest, each up to `spread` more or less."""
    wait_s = first_s
    while True:
        yield wait_s * random.uniform(1 - spread, 1 + spread)  # noqa: S311 - spreads load, guards no secret
        wait_s = min(longest_s, wait_s * 2)
