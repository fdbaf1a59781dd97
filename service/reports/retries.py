"""Merging of repeated cases into attempts, for producers that write each attempt as a further case.

Whether a repeat is an attempt depends on the producer and the position, never on outcomes: otherwise, a failure would
change the identity of other results.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from service.contracts.run_events import AttemptIn, ResultIn
from service.domain.statuses import FAILING
from service.reports.attempts import add_attempt, attempts_of, sum_of_durations
from service.reports.failures import join_failures
from service.reports.output import OutputPart, output_of, set_output

_MAX_PENDING: Final = 32 * 2**20  # characters, estimated
_TEARDOWN: Final = ("failed on teardown", "test teardown failure")  # messages of pytest


class RepeatMerger(Protocol):
    """Merges the repeated cases of one suite."""

    def add(self, result: ResultIn) -> Iterable[ResultIn]:
        """Add the next result of the suite, and return the results that can't get a further attempt."""
        ...

    def flush(self) -> list[ResultIn]:
        """Return the pending results at the end of the suite."""
        ...


class AdjacentRepeats:
    """Merges each case with the equal cases directly after it: pytest-rerunfailures writes attempts in this order.

    The plugin omits the failures of all attempts but the last one. pytest itself writes a call failure and a teardown
    error of one attempt as two cases.
    """

    def __init__(self) -> None:
        self._pending: ResultIn | None = None
        self._size = 0

    def add(self, result: ResultIn) -> Iterable[ResultIn]:
        """Add the next result of the suite, and return the previous case if it can't get a further attempt."""
        pending = self._pending
        if pending is None or not _is_same_case(pending, result) or self._size > _MAX_PENDING:
            self._pending = result
            self._size = 0
            return (pending,) if pending else ()
        self._size += _size(result)
        last = attempts_of(pending)[-1]
        if last["status"] in FAILING and _is_teardown_error(result):
            self._pending = _with_teardown_error(pending, result)
        else:
            self._pending = add_attempt(_rerun(pending), result)
        return ()

    def flush(self) -> list[ResultIn]:
        """Return the last case at the end of the suite."""
        pending, self._pending = self._pending, None
        return [pending] if pending else []


class RepeatsInSuite:
    """Merges all equal cases of one suite: gotestsum writes failed attempts before passed ones."""

    def __init__(self, max_pending: int = _MAX_PENDING) -> None:
        self._pending: dict[tuple[str | None, str, int], ResultIn] = {}
        self._max_pending = max_pending
        self._size = 0

    def add(self, result: ResultIn, occurrence: int = 0) -> Iterable[ResultIn]:
        """Add the next result of the suite. Return results early only if they are too large to stay in memory.

        Results of different occurrences belong to different cases.
        """
        key = result.get("suite"), result["name"], occurrence
        earlier = self._pending.get(key)
        self._pending[key] = add_attempt(earlier, result) if earlier else result
        self._size += _size(result)
        return self.flush() if self._size > self._max_pending else ()

    def flush(self) -> list[ResultIn]:
        """Return the results at the end of the suite, in the order of their first attempts."""
        results = list(self._pending.values())
        self._pending.clear()
        self._size = 0
        return results


def _is_same_case(first: ResultIn, second: ResultIn) -> bool:
    return (
        first["name"] == second["name"]
        and first.get("suite") == second.get("suite")
        and first.get("file") == second.get("file")
    )


def _is_teardown_error(result: ResultIn) -> bool:
    message = (result.get("failure") or {}).get("message") or ""
    return result["status"] == "error" and message.startswith(_TEARDOWN)


def _with_teardown_error(result: ResultIn, teardown: ResultIn) -> ResultIn:
    """Return the result with the error as a second failure of its last attempt."""
    *earlier, last = attempts_of(result)
    duration_ms = sum_of_durations(last, teardown)
    failures = [failure for failure in (last.get("failure"), teardown.get("failure")) if failure]
    attempt: AttemptIn = {**last, "status": "error", "duration_ms": duration_ms, "failure": join_failures(failures)}
    merged: ResultIn = {**result, "status": "error", "failure": join_failures(failures)}
    merged["duration_ms"] = sum_of_durations(result, teardown)
    of_teardown: list[OutputPart] = [{**part, "name": f"teardown-{part['name']}"} for part in output_of(teardown)]
    set_output(merged, [*output_of(result), *of_teardown])
    if earlier:
        merged["attempts"] = [*earlier, attempt]
    return merged


def _rerun(result: ResultIn) -> ResultIn:
    """Return the result as an attempt that failed: pytest reruns only failures, but the report omits them."""
    *earlier, last = attempts_of(result)
    if last["status"] != "passed":
        return result
    return {**result, "status": "failed", "attempts": [*earlier, {**last, "status": "failed"}]}


def _size(result: ResultIn) -> int:
    failure = result.get("failure") or {}
    return 500 + len(failure.get("details") or "") + len(failure.get("message") or "")
