"""What readers build results of: statuses, failures, and attempts.

Several executions of one case become one result. The last attempt decides its status.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from service.domain.statuses import ResultStatus, read_status
from service.domain.timestamps import MAX_DURATION_MS
from service.ingest.contract import ArtifactIn, AttemptIn, Failure, ResultIn
from service.reports.conversion.attachments import name_of_attempt
from service.reports.conversion.output import of_attempt, output_of, set_output

MAX_ATTEMPTS: Final = 1_000  # per result; only the last ones are stored
_MAX_FILES: Final = 2_000  # outputs or artifacts of a merged result: the time of a merge depends on their number
_ROW_LISTS: Final = ("attempts", "artifacts", "output")
MAX_COLLECTED: Final = 200_000  # characters; exceeds the stored length, so that ingest truncates the text and notes it
MAX_PENDING: Final = 32 * 2**20  # characters, estimated


def status_of_word(word: object) -> ResultStatus:
    """Return the status of a word, or an unknown word itself, which ingest stores as an error."""
    return read_status(word) or cast("ResultStatus", word)


def make_failure(kind: str | None = None, message: str | None = None, details: str | None = None) -> Failure:
    """Return a failure without the texts that are missing."""
    texts = {"type": kind, "message": message, "details": details}
    return cast("Failure", {name: text for name, text in texts.items() if text})


def attempts_of(result: ResultIn) -> list[AttemptIn]:
    """Return the attempts that a result lists, or the result itself as its only attempt."""
    if attempts := result.get("attempts"):
        return attempts
    only: AttemptIn = {"status": result["status"]}
    if "duration_ms" in result:
        only["duration_ms"] = result["duration_ms"]
    if "started_at" in result:
        only["started_at"] = result["started_at"]
    if "failure" in result:
        only["failure"] = result["failure"]
    return [only]


def sum_of_durations(first: AttemptIn | ResultIn, second: AttemptIn | ResultIn) -> float | None:
    """Return the sum of the known durations, or None if both are unknown."""
    known = [duration for part in (first, second) if (duration := part.get("duration_ms")) is not None]
    return min(sum(known), MAX_DURATION_MS) if known else None


def count_rows(results: Collection[Any]) -> int:
    """Return the number of results and of their attempts, artifacts, and outputs. Results can be unvalidated."""
    listing = [
        result for result in results
        if isinstance(result, dict) and ("attempts" in result or "artifacts" in result or "output" in result)
    ]  # fmt: skip
    return len(results) + sum(_length(result.get(name)) for result in listing for name in _ROW_LISTS)


def _length(items: Any) -> int:
    return len(items) if isinstance(items, list) else 0


def add_attempt(first: ResultIn, second: ResultIn) -> ResultIn:
    """Return one result for two executions of a case, with the second one as a further attempt."""
    merged: ResultIn = {**first, **second}
    merged["attempts"] = [*attempts_of(first), *attempts_of(second)][-MAX_ATTEMPTS:]
    merged["duration_ms"] = sum_of_durations(first, second)
    if "started_at" in first:
        merged["started_at"] = first["started_at"]
    if "failure" not in second:
        merged.pop("failure", None)
    number = len(attempts_of(first))
    earlier: list[ArtifactIn] = [
        {**artifact, "name": name_of_attempt(artifact["name"], number)} for artifact in first.get("artifacts") or ()
    ]
    if artifacts := [*earlier, *(second.get("artifacts") or ())]:
        merged["artifacts"] = list({artifact["name"]: artifact for artifact in artifacts}.values())[-_MAX_FILES:]
    outputs = [*of_attempt(number, output_of(first)), *output_of(second)]
    set_output(merged, outputs[-_MAX_FILES:])
    return merged


def join_failures(failures: Sequence[Failure]) -> Failure:
    """Return type and message of the first failure, and the details of all, separated by blank lines."""
    if len(failures) == 1:
        return failures[0]
    return {**failures[0], "details": "\n\n".join(map(_full_text, failures))[:MAX_COLLECTED]}


def _full_text(failure: Failure) -> str:
    message, details = failure.get("message") or "", failure.get("details") or ""
    return details if message.strip() in details else f"{message}\n{details}".rstrip()


def estimate_size(result: Mapping[str, Any]) -> int:
    """Return about how many characters a result needs in memory."""
    failure = result.get("failure") or {}
    return 500 + len(failure.get("details") or "") + len(failure.get("message") or "")


class RepeatsInSuite:
    """Merges all equal cases of one suite: gotestsum writes failed attempts before passed ones."""

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
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
        self._size += estimate_size(result)
        return self.flush() if self._size > self._max_pending else ()

    def flush(self) -> list[ResultIn]:
        """Return the results at the end of the suite, in the order of their first attempts."""
        results = list(self._pending.values())
        self._pending.clear()
        self._size = 0
        return results
