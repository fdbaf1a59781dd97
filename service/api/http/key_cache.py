"""Remembers for a few seconds which keys were found valid, so that most requests need no look-up."""

import time
from typing import Final

from service.domain.keys import Caller

# A revoked key must be refused everywhere within five seconds.
_REMEMBERED_S: Final = 4.0
_LIMIT: Final = 10_000


class KeyCache:
    """Valid keys by the whole key, each with the moment from which it must be looked up again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Caller, float]] = {}

    def get(self, key: str) -> Caller | None:
        """Whose key this is, if it was found valid within the last few seconds."""
        caller, until = self._known.get(key, (None, 0.0))
        return caller if time.monotonic() < until else None

    def add(self, key: str, caller: Caller) -> None:
        """Remembers a key that was valid a moment ago."""
        if len(self._known) >= _LIMIT:
            self._known.clear()
        self._known[key] = caller, time.monotonic() + _REMEMBERED_S
