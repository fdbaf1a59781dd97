"""Merging of several executions of one case into one result; the last attempt decides the status."""

from collections.abc import Collection
from typing import Any, Final

from service.contracts.run_events import ArtifactIn, AttemptIn, ResultIn
from service.domain.results import MAX_DURATION_MS
from service.reports.attachments import name_of_attempt
from service.reports.output import of_attempt, output_of, set_output

MAX_ATTEMPTS: Final = 1_000  # per result; only the last ones are stored
_MAX_FILES: Final = 2_000  # outputs or artifacts of a merged result: the time of a merge depends on their number
_ROW_LISTS: Final = ("attempts", "artifacts", "output")


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
