"""From what a child has read out of a report to what the domain knows of it, piece by piece. No I/O but that file."""

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
from service.usecases.ingest.validate_events import Problem, name_of

_RESULTS: Final = TypeAdapter(list[ResultIn])
_RESULT: Final = TypeAdapter(ResultIn)
_RUN: Final = TypeAdapter(RunIn)
_NUL: Final = b"\\u0000"
# Reports are sent long after they were written too. Where only the time of receipt says when the run completed,
# a start that lies further back says nothing of how long it took.
_LONGEST_RUN: Final = timedelta(days=1)
_LISTED: Final = 20

Indexed = list[tuple[int, ResultIn]]


class ParsedReport:
    """One report on its way in. The event has its results in pieces, and what is wrong with them together."""

    def __init__(self, claimed: ClaimedReport, read: ReadUpload, retention: timedelta) -> None:
        self.event = _event(claimed, read.summary, retention)
        self.occurrences: Occurrences = {}
        self._repeated_ids = read.repeated_ids
        self._attempts: Counter[str] = Counter()
        self._unlisted = 0

    def pieces(self, results: Path) -> Iterator[Indexed]:
        """The valid results under their indexes; those that share a case id come last and together."""
        held: Indexed = []
        index = 0
        for chunk in read_chunks(results):
            count, valid = self._valid(chunk, index)
            index += count
            if self._repeated_ids:
                held += [one for one in valid if one[1].get("case_id") in self._repeated_ids]
                valid = [one for one in valid if one[1].get("case_id") not in self._repeated_ids]
            yield valid
            self._bound_problems()
        yield list(self._within_attempts(held))

    @property
    def problems(self) -> list[Problem]:
        """As many as a receipt lists, and how many more there are."""
        self._bound_problems()
        more = [_note(f"{self._unlisted} more problems")] if self._unlisted else []
        return self.event.problems + more

    @property
    def why_nothing_is_valid(self) -> str:
        """The first reasons, for a report without a single valid result."""
        reasons = [f"{problem['index']}: {problem['reason']}" for problem in self.event.problems[:_LISTED]]
        return "no result is valid: " + "; ".join(reasons)

    def _valid(self, chunk: bytes, first: int) -> tuple[int, Indexed]:
        """How many results there are, and the valid ones."""
        if _NUL not in chunk:
            try:
                results = _RESULTS.validate_json(chunk)
            except ValidationError:
                pass  # one by one, so that what is right is saved
            else:
                return len(results), list(enumerate(results, first))
        items = texts.replace_unstorable(orjson.loads(chunk))
        return len(items), [pair for pair in enumerate(items, first) if self._is_valid(*pair)]

    def _is_valid(self, index: int, item: Any) -> bool:
        try:
            _RESULT.validate_python(item)
        except ValidationError as error:
            self.event.reject(index, name_of(item), _reason(error))
            return False
        return True

    def _within_attempts(self, held: Indexed) -> Iterator[tuple[int, ResultIn]]:
        for index, result in held:
            case_id = result.get("case_id") or ""
            self._attempts[case_id] += 1
            if self._attempts[case_id] <= MAX_ATTEMPTS:
                yield index, result
            else:
                self.event.reject(index, name_of(result), f"case_id: at most {MAX_ATTEMPTS} attempts of one case")

    def _bound_problems(self) -> None:
        self._unlisted += len(self.event.problems[MAX_PROBLEMS:])
        del self.event.problems[MAX_PROBLEMS:]


def _event(claimed: ClaimedReport, summary: ReportSummary, retention: timedelta) -> ParsedEvent:
    """The report as an event of its moment. Raises Rejected."""
    problems = [_note(note) for note in summary.notes]
    run = _run(claimed, summary)
    completed_at = aware(run.get("completed_at") or _moment(claimed))
    if AcceptanceWindow(claimed.received_at, retention).excludes(completed_at):
        raise Rejected("completed_at_out_of_range", f"completed_at: {completed_at.isoformat()} is out of range")
    event_s = to_ms(_moment(claimed)) // 1000
    origin = {"source": claimed.source, "id": claimed.event_id}
    state = parse_run_state(origin, run, to_ms(completed_at), event_s, problems)
    return ParsedEvent("", claimed.source, claimed.event_id, claimed.body_sha256, event_s, state, [], problems)


def _run(claimed: ClaimedReport, summary: ReportSummary) -> RunIn:
    """What is said of the run: by the request, else by the report."""
    said = {**summary.run, **claimed.upload.run}
    if claimed.run_id is not None:
        said["run_id"] = claimed.run_id
    try:
        run = _RUN.validate_python(texts.replace_unstorable(said))
    except ValidationError as error:
        raise Rejected("invalid", f"run.{_reason(error)}") from None
    if run["run_id"] in (".", ".."):
        raise Rejected("invalid", "run.run_id: must not be a dot path")
    if run.get("started_at") is None and (started_at := _started_at(claimed, summary, run)):
        run["started_at"] = started_at
    return run


def _started_at(claimed: ClaimedReport, summary: ReportSummary, run: RunIn) -> datetime | None:
    if summary.started_at is None:
        return None
    took = aware(run.get("completed_at") or _moment(claimed)) - aware(summary.started_at)
    return summary.started_at if timedelta() <= took <= _LONGEST_RUN else None


def _moment(claimed: ClaimedReport) -> datetime:
    """When it was received, or the time of the event that refers to it."""
    event_at = claimed.upload.event_at
    return datetime.fromisoformat(event_at) if event_at else claimed.received_at


def _reason(error: ValidationError) -> str:
    fault = validation_errors(error)[0]
    return f"{field_path(fault['loc']) or 'result'}: {describe_error(fault)}"


def _note(text: str) -> Problem:
    return {"index": None, "name": None, "reason": text}
