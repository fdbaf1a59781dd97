"""Repeated cases of producers that retry: which of them are one result with several attempts."""

from collections.abc import Iterable
from typing import Final

from service.contracts.run_events import ResultIn
from service.reports.attempts import add_attempt

_FAILING: Final = ("failed", "error")
_MAX_WAITING: Final = 32 * 2**20  # characters, about


class RetryMerger:
    """Keeps the failing results of one suite, since the next case of the same name is the next attempt.

    After an attempt that did not fail, nothing is run again: such a repeat is another occurrence.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str | None, str], ResultIn] = {}
        self._size = 0

    def take(self, result: ResultIn) -> Iterable[ResultIn]:
        """Takes the next result, and gives those that no further attempt can come for."""
        if not self._waiting and result["status"] not in _FAILING:
            return (result,)
        key = result.get("suite"), result["name"]
        earlier = self._waiting.pop(key, None)
        if earlier:
            result = add_attempt(earlier, result)
        if result["status"] not in _FAILING:
            return (result,)
        self._waiting[key] = result
        self._size += _size(result)
        return self.rest() if self._size > _MAX_WAITING else ()

    def rest(self) -> list[ResultIn]:
        """Those that still wait: the suite is over."""
        results = list(self._waiting.values())
        self._waiting.clear()
        self._size = 0
        return results


def _size(result: ResultIn) -> int:
    failure = result.get("failure") or {}
    return 500 + len(failure.get("details") or "") + len(failure.get("message") or "")
