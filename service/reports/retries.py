"""Merging of repeated cases into attempts, for producers that write each attempt as a further case."""

from collections.abc import Iterable
from typing import Final

from service.contracts.run_events import ResultIn
from service.domain.statuses import FAILING
from service.reports.attempts import add_attempt

_MAX_PENDING: Final = 32 * 2**20  # characters, estimated


class RetryMerger:
    """Buffers the failing results of one suite until the next case of the same name, which is their next attempt.

    A producer retries only failed attempts, so a repeat after another status is another occurrence.
    """

    def __init__(self) -> None:
        self._pending: dict[tuple[str | None, str], ResultIn] = {}
        self._size = 0

    def add(self, result: ResultIn) -> Iterable[ResultIn]:
        """Add the next result of the suite, and return the results that can't get a further attempt."""
        if not self._pending and result["status"] not in FAILING:
            return (result,)
        key = result.get("suite"), result["name"]
        earlier = self._pending.pop(key, None)
        if earlier:
            result = add_attempt(earlier, result)
        if result["status"] not in FAILING:
            return (result,)
        self._pending[key] = result
        self._size += _size(result)
        return self.flush() if self._size > _MAX_PENDING else ()

    def flush(self) -> list[ResultIn]:
        """Return the pending results at the end of the suite."""
        results = list(self._pending.values())
        self._pending.clear()
        self._size = 0
        return results


def _size(result: ResultIn) -> int:
    failure = result.get("failure") or {}
    return 500 + len(failure.get("details") or "") + len(failure.get("message") or "")
