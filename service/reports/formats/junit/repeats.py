"""The attempts of pytest in JUnit XML, which are adjacent cases with one name."""

from collections.abc import Iterable
from typing import Final

from service.domain.statuses import FAILING
from service.ingest.contract import AttemptIn, ResultIn
from service.reports.conversion.attempts import (
    MAX_PENDING,
    add_attempt,
    attempts_of,
    estimate_size,
    join_failures,
    sum_of_durations,
)
from service.reports.conversion.output import OutputPart, output_of, set_output

_TEARDOWN: Final = ("failed on teardown", "test teardown failure")  # messages of pytest


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
        if pending is None or not _is_same_case(pending, result) or self._size > MAX_PENDING:
            self._pending = result
            self._size = 0
            return (pending,) if pending else ()
        self._size += estimate_size(result)
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
