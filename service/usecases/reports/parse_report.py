"""Validation of the results and the metadata that a parser process has written."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from service.contracts.run_events import ResultIn, RunIn
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.errors import Rejected
from service.domain.reports import MAX_PROBLEMS
from service.reports.chunks import read_chunks
from service.reports.convert import ReportSummary
from service.reports.uploads import ReadUpload
from service.store.reports import ClaimedReport
from service.usecases.ingest.parse_events import AcceptanceWindow, ParsedEvent, aware, parse_run_state, to_ms
from service.usecases.ingest.parse_results import MAX_ATTEMPTS, Occurrences
from service.usecases.ingest.validate_events import Problem, limit_problems, result_name

_RESULTS: Final = TypeAdapter(list[ResultIn])
_RESULT: Final = TypeAdapter(ResultIn)
_RUN: Final = TypeAdapter(RunIn)
_NUL: Final = b"\\u0000"
# Reports can be uploaded long after they were written. If only the time of receipt states when the run completed, an
# earlier start is ignored, because the difference isn't the duration of the run.
_LONGEST_RUN: Final = timedelta(days=1)
_LISTED_REASONS: Final = 20

IndexedResults = list[tuple[int, ResultIn]]


class ParsedReport:
    """A parsed report. `event` gets the results of one batch at a time, and the problems of all batches."""

    def __init__(self, claimed: ClaimedReport, read: ReadUpload, retention: timedelta) -> None:
        self.event = _event(claimed, read.summary, retention)
        self.occurrences: Occurrences = {}
        self._repeated_ids = read.repeated_ids
        self._attempts: Counter[str] = Counter()
        self._unlisted = 0

    def batches(self, results: Path) -> Iterator[IndexedResults]:
        """Yield the valid results with their indexes. The last batch contains all results with a repeated case ID."""
        deferred: IndexedResults = []
        index = 0
        for chunk in read_chunks(results):
            count, valid = self._validate(chunk, index)
            index += count
            if self._repeated_ids:
                deferred += [item for item in valid if item[1].get("case_id") in self._repeated_ids]
                valid = [item for item in valid if item[1].get("case_id") not in self._repeated_ids]
            yield valid
            self._truncate_problems()
        yield list(self._limit_attempts(deferred))

    @property
    def problems(self) -> list[Problem]:
        """The problems that the receipt lists, and the number of further problems."""
        self._truncate_problems()
        return limit_problems(self.event.problems, self._unlisted)

    @property
    def no_valid_result_message(self) -> str:
        """The error message of a report without valid results; it contains the first reasons."""
        reasons = [f"{problem['index']}: {problem['reason']}" for problem in self.event.problems[:_LISTED_REASONS]]
        return "the report contains no valid result: " + "; ".join(reasons)

    def _validate(self, chunk: bytes, first: int) -> tuple[int, IndexedResults]:
        """Return the number of results in the chunk and the valid results."""
        if _NUL not in chunk:
            try:
                results = _RESULTS.validate_json(chunk)
            except ValidationError:
                pass  # validate one by one, so that valid results are stored
            else:
                return len(results), list(enumerate(results, first))
        items = texts.clean_json(orjson.loads(chunk))[0]
        return len(items), [pair for pair in enumerate(items, first) if self._is_valid(*pair)]

    def _is_valid(self, index: int, item: Any) -> bool:
        try:
            _RESULT.validate_python(item)
        except ValidationError as error:
            self.event.reject(index, result_name(item), _reason(error))
            return False
        return True

    def _limit_attempts(self, deferred: IndexedResults) -> Iterator[tuple[int, ResultIn]]:
        for index, result in deferred:
            case_id = result.get("case_id") or ""
            self._attempts[case_id] += 1
            if self._attempts[case_id] <= MAX_ATTEMPTS:
                yield index, result
            else:
                self.event.reject(
                    index, result_name(result), f"case_id: must occur at most {MAX_ATTEMPTS} times in a report"
                )

    def _truncate_problems(self) -> None:
        self._unlisted += len(self.event.problems[MAX_PROBLEMS:])
        del self.event.problems[MAX_PROBLEMS:]


def _event(claimed: ClaimedReport, summary: ReportSummary, retention: timedelta) -> ParsedEvent:
    """Convert the metadata to an event without results. Raises Rejected."""
    problems = [_note(note) for note in summary.notes]
    run = _run(claimed, summary)
    completed_at = aware(run.get("completed_at") or _effective_time(claimed))
    if AcceptanceWindow(claimed.received_at, retention).excludes(completed_at):
        expected = "must be within the retention and at most 24 h in the future"
        raise Rejected("completed_at_out_of_range", f"completed_at: {expected}, but is {completed_at.isoformat()}")
    event_s = to_ms(_effective_time(claimed)) // 1000
    origin = {"source": claimed.source, "id": claimed.event_id}
    state = parse_run_state(origin, run, to_ms(completed_at), event_s, problems)
    identity = "", claimed.source, claimed.event_id, claimed.body_sha256
    return ParsedEvent(*identity, event_s, state, [], run.get("shard") or 0, problems)


def _run(claimed: ClaimedReport, summary: ReportSummary) -> RunIn:
    """Return the fields of the run. Fields of the request override fields of the report. Raises Rejected."""
    fields = {**summary.run, **claimed.upload.run}
    if claimed.run_id is not None:
        fields["run_id"] = claimed.run_id
    try:
        run = _RUN.validate_python(texts.clean_json(fields)[0])
    except ValidationError as error:
        raise Rejected("invalid", f"run.{_reason(error)}") from None
    if run["run_id"] in (".", ".."):
        raise Rejected("invalid", "run.run_id: must not be '.' or '..'")
    if run.get("started_at") is None and (started_at := _started_at(claimed, summary, run)):
        run["started_at"] = started_at
    return run


def _started_at(claimed: ClaimedReport, summary: ReportSummary, run: RunIn) -> datetime | None:
    if summary.started_at is None:
        return None
    duration = aware(run.get("completed_at") or _effective_time(claimed)) - aware(summary.started_at)
    return summary.started_at if timedelta() <= duration <= _LONGEST_RUN else None


def _effective_time(claimed: ClaimedReport) -> datetime:
    """Return the time of receipt, or the time of the event that refers to the report."""
    event_at = claimed.upload.event_at
    return datetime.fromisoformat(event_at) if event_at else claimed.received_at


def _reason(error: ValidationError) -> str:
    first = validation_errors(error)[0]
    return f"{field_path(first['loc']) or 'result'}: {describe_error(first)}"


def _note(text: str) -> Problem:
    return {"index": None, "name": None, "reason": text}
