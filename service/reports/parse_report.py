"""Validation of the results and the metadata that a parser process has written."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from service.domain import texts
from service.domain.errors import Rejected
from service.domain.ids import CaseKey
from service.domain.timestamps import MAX_DURATION_MS
from service.ingest.contract import ResultIn, UploadedRun
from service.ingest.parse_events import (
    COMPLETENESS_FIELDS,
    AcceptanceWindow,
    ParsedEvent,
    aware,
    find_run_problem,
    parse_part,
    parse_run_state,
    results_event_s,
    to_ms,
)
from service.ingest.parse_results import (
    MAX_ATTEMPTS,
    IndexedResults,
    Occurrences,
    describe_first_error,
    repair_or_reject,
    result_name,
)
from service.ingest.validate_events import (
    Problem,
    input_can_have_failed,
    limit_problems,
    read_part,
    read_pipeline,
    read_run_status,
)
from service.reports.conversion.convert import ReportSummary
from service.reports.conversion.output import ReportResult, output_of
from service.reports.conversion.uploads import ReadUpload, ReportFile, key_in_upload, open_results, read_results
from service.reports.model import MAX_PROBLEMS, Upload
from service.reports.store import LeasedReport
from service.reports.store_uploads import StoredOutput, references
from service.results.model import CaseOutcome, CaseOutcomes, PartOutcomes, merge_event
from service.runs.model import MAX_UNTRUSTED_AGE, RunPart, Span, branch_of_fork, is_untrusted_id, set_failures_missing

_RUN: Final = TypeAdapter(UploadedRun)
_validate: Final[Callable[[Any], ResultIn]] = TypeAdapter(ReportResult).validator.validate_python
_NO_RESULTS: Final = (
    "results: the upload contains none. A run without results has the status error. allow_empty=true permits this"
)
# Reports can be uploaded long after they were written. If only the time of receipt states when the run completed, an
# earlier start is ignored, because the difference isn't the duration of the run.
_LONGEST_RUN_MS: Final = 24 * 3_600_000
_MS: Final = timedelta(milliseconds=1)
_BATCH_RESULTS: Final = 2_000
_BATCH_BYTES: Final = 2 * 2**20  # of converted results

ParseGroup = Callable[[IndexedResults, Occurrences], CaseOutcomes]


class _Batch:
    """The outcomes of several chunks, so that many small reports have as many batches as one large report."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._outcomes: PartOutcomes = {number: {}}
        self._bytes = 0

    def add(self, outcomes: CaseOutcomes, size: int) -> None:
        """Add the outcomes of a chunk. If a case is in the batch already, the worse outcome is used."""
        merge_event(self._outcomes, self._number, outcomes)
        self._bytes += size

    @property
    def is_full(self) -> bool:
        return len(self._outcomes[self._number]) >= _BATCH_RESULTS or self._bytes >= _BATCH_BYTES

    def take(self) -> CaseOutcomes:
        """Return the outcomes, and start the next batch."""
        outcomes = self._outcomes[self._number]
        self._outcomes, self._bytes = {self._number: {}}, 0
        return outcomes


class ParsedReport:
    """The parsed reports of one upload. `event` gets the results of one batch at a time, and the problems of all.

    `output` are the stored files with the output of the results. `referring` contains the cases so far whose results
    name files, if the upload has attachments.
    """

    def __init__(self, leased: LeasedReport, read: ReadUpload, retention: timedelta, output: StoredOutput) -> None:
        self.event = _event(leased, read.summary, read.unreadable, retention)
        self.referring: set[CaseKey] = set()
        self._has_attachments = bool(leased.upload.attachments)
        self._files = read.files
        self._repeated = read.repeated
        self._variant: dict[str, str] = leased.upload.run.get("variant") or {}
        self._output = output
        self._index = 0
        self._unlisted = 0
        # The names of the files of results by index, if a report consists of several files.
        self._reports: dict[int, str] = {}
        self._kept: dict[int, str] = {}

    def batches(self, parse: ParseGroup) -> Iterator[CaseOutcomes]:
        """Yield the outcomes in batches that have no case in common.

        `parse` converts the valid results of one report.
        """
        for outcomes in self._batches(parse):
            if self._has_attachments:
                self.referring.update(key for key, outcome in outcomes.items() if _names_files(outcome))
            yield outcomes

    def _batches(self, parse: ParseGroup) -> Iterator[CaseOutcomes]:
        """Yield the outcomes of each batch, which small files share.

        The last batch contains the cases that occur several times. The results of a case in one report are its
        attempts or occurrences. Of the outcomes in several reports, the worst one is used.
        """
        deferred: list[IndexedResults] = []
        batch = _Batch(self.event.number)
        with open_results(self._files) as results:
            for file in self._files:
                occurrences: Occurrences = {}
                deferred.append([])
                for chunk in read_results(results, file):
                    with self._naming(file):
                        valid, repeated = self._separate(self._add_output(self._add_variant(self._validate(chunk))))
                        batch.add(parse(valid, occurrences), len(chunk))
                    for index, _result in valid if self.event.output else ():
                        self.event.output.pop(index, None)
                    deferred[-1] += repeated
                    self._forget_reports(repeated)
                    if batch.is_full:
                        yield batch.take()
        yield batch.take()
        self._reports = self._kept
        yield self._combine(parse, deferred)

    def _forget_reports(self, deferred: IndexedResults) -> None:
        """Keep only the names that are needed after this part of the report."""
        if self._reports:
            self._kept |= {index: self._reports[index] for index, _ in deferred if index in self._reports}
            self._reports.clear()

    def _add_variant(self, results: IndexedResults) -> IndexedResults:
        """Add the variant of the request to the variants that the report states, such as the projects of Playwright."""
        for _, result in results if self._variant else ():
            if own := result.get("variant"):
                result["variant"] = {**self._variant, **own}
        return results

    def _combine(self, parse: ParseGroup, deferred: Sequence[IndexedResults]) -> CaseOutcomes:
        number = self.event.number
        combined: PartOutcomes = {number: {}}
        for file, repeated in zip(self._files, deferred, strict=True):
            with self._naming(file):
                merge_event(combined, number, parse(list(self._limit_attempts(repeated)), {}))
        return combined[number]

    def _add_output(self, valid: IndexedResults) -> IndexedResults:
        """Add references to the outputs of the results to the event."""
        for index, result in valid:
            if parts := output_of(result):
                names = [artifact["name"] for artifact in result.get("artifacts") or ()]
                self.event.output[index] = list(references(self._output, parts, names))
        return valid

    def _separate(self, valid: IndexedResults) -> tuple[IndexedResults, IndexedResults]:
        """Return the results whose name occurs only once, and the others."""
        if not self._repeated:
            return valid, []
        single: IndexedResults = []
        repeated: IndexedResults = []
        for item in valid:
            (repeated if key_in_upload(item[1]) in self._repeated else single).append(item)
        return single, repeated

    @contextmanager
    def _naming(self, file: ReportFile) -> Iterator[None]:
        """Add the name of the report to the problems that are found in it, if the upload has several reports.

        If the report consists of several files, add the name of the file.
        """
        first = len(self.event.problems)
        yield
        for problem in self.event.problems[first:]:
            index = problem["index"]
            if name := (None if index is None else self._reports.get(index)) or file.name:
                problem["reason"] = f"{name}: {problem['reason']}"
        self._truncate_problems()

    @property
    def problems(self) -> list[Problem]:
        """The problems that the receipt lists, and the number of further problems."""
        self._truncate_problems()
        return limit_problems(self.event.problems, self._unlisted)

    def _validate(self, chunk: bytes) -> IndexedResults:
        """Return the valid results of the chunk with their indexes in the upload."""
        valid: IndexedResults = []
        for item in orjson.loads(chunk):
            if isinstance(item, dict) and "report" in item:
                self._reports[self._index] = item["report"]
            try:
                valid.append((self._index, _validate(item)))
            except ValidationError as error:
                repaired = repair_or_reject(self.event, self._index, item, error, _validate)
                valid += [] if repaired is None else [(self._index, repaired)]
            self._index += 1
        return valid

    def _limit_attempts(self, deferred: IndexedResults) -> Iterator[tuple[int, ResultIn]]:
        attempts: Counter[str] = Counter()
        for index, result in deferred:
            case_id = result.get("case_id")
            if case_id is not None:
                attempts[case_id] += 1
            if case_id is None or attempts[case_id] <= MAX_ATTEMPTS:
                yield index, result
            else:
                reason = f"case_id: must occur at most {MAX_ATTEMPTS} times in a report"
                self.event.reject(index, result_name(result), reason, failing=input_can_have_failed(result))

    def _truncate_problems(self) -> None:
        self._unlisted += len(self.event.problems[MAX_PROBLEMS:])
        del self.event.problems[MAX_PROBLEMS:]


def read_upload_context(upload: Upload, run: Mapping[str, Any]) -> tuple[str | None, RunPart]:
    """Return the pipeline and the part of the upload, so that the receipt of a rejected report has them too.

    `run` contains the unvalidated fields of the report. Fields of the request override them.
    """
    fields = {**run, **upload.run}
    return read_pipeline(fields), read_part(fields, fields)


def _event(
    leased: LeasedReport, summary: ReportSummary, unreadable: Sequence[str], retention: timedelta
) -> ParsedEvent:  # fmt: skip
    """Convert the metadata to an event without results. Raises Rejected."""
    problems = [_note(note) for note in (*unreadable, *summary.notes)]
    if not (summary.results or summary.failures_missing or leased.upload.run.get("allow_empty")):
        problems.append(_note(_NO_RESULTS))
    window = AcceptanceWindow(leased.received_at, retention)
    run = _run(leased, summary, window, problems)
    completed_at = _completed_at(leased, run)
    if window.excludes(completed_at):
        expected = "must be within the retention and at most 24 h in the future"
        raise Rejected("completed_at_out_of_range", f"completed_at: {expected}, but is {completed_at.isoformat()}")
    event_s = to_ms(_effective_time(leased)) // 1000
    part = parse_part(run, run.get("variant"))
    state = parse_run_state(run, part, to_ms(completed_at), event_s, problems, _spans(leased, summary, run))
    if summary.failures_missing:
        state = set_failures_missing(state, is_missing=True)
    identity = "", leased.source, leased.event_id, leased.body_sha256
    return ParsedEvent(
        *identity, results_event_s(part, event_s), state, part=part, number=part.shard, problems=problems,
        rejected_count=len(unreadable), rejected_failing=summary.failures_missing, receipt_id=leased.lease.task_id,
    )  # fmt: skip


def _run(
    leased: LeasedReport, summary: ReportSummary, window: AcceptanceWindow, problems: list[Problem]
) -> UploadedRun:
    """Return the fields of the run. Fields of the request override fields of the report. Raises Rejected."""
    fields = {**summary.run, **leased.upload.run}
    if any(name in leased.upload.run for name in COMPLETENESS_FIELDS):
        fields |= {name: leased.upload.run.get(name) for name in COMPLETENESS_FIELDS}
    if leased.run_id is not None:
        fields["run_id"] = leased.run_id
    fields.pop("root", None)
    if fields.pop("allow_empty", None) and not summary.results:
        fields.setdefault("status", "passed")
    try:
        run = _RUN.validate_python(texts.clean_json(read_run_status(fields, problems))[0])
    except ValidationError as error:
        raise Rejected("invalid", f"run.{describe_first_error(error)}") from None
    if problem := find_run_problem(run, can_be_untrusted=leased.run_id is not None):
        raise Rejected("invalid", f"run.{problem}")
    if is_untrusted_id(run["run_id"]) and (branch := run.get("branch")):
        run["branch"] = branch_of_fork(branch)
    if leased.upload.is_promoted:
        run["notify"] = None  # otherwise, a fork could hide its failing run from the receivers of events
    if run.get("completed_at") is None and summary.completed_at and not window.excludes(summary.completed_at):
        run["completed_at"] = summary.completed_at
    return run


def _spans(leased: LeasedReport, summary: ReportSummary, run: UploadedRun) -> list[Span]:
    """Return when the reports were executed. If the request states a start, it's one span until the end of the run."""
    end_ms, stated = to_ms(_stated_end(leased, run)), run.get("started_at")
    longest_ms = _LONGEST_RUN_MS if run.get("completed_at") is None else MAX_DURATION_MS
    spans = [(to_ms(stated), end_ms)] if stated else list(_reported_spans(summary, end_ms, longest_ms))
    moved_ms = to_ms(_completed_at(leased, run)) - end_ms  # of an untrusted report, with its duration
    return [(start + moved_ms, end + moved_ms) for start, end in spans]


def _reported_spans(summary: ReportSummary, end_ms: int, longest_ms: int) -> Iterator[Span]:
    """Yield when the reports were executed, of which the last one ends with the run. Ignore a start that can't be true.

    Times without a zone are from one clock, so that a pause between two reports doesn't count, and parallel reports
    count once. Reports without a time count as executed one after another, like the test classes of a job.
    """
    last = summary.completed_at  # the request can state another end
    last_local = max((times.local_span[1] for times in summary.times if times.local_span), default=None)
    untimed: list[float] = []
    for times in summary.times:
        if times.started_at is not None:
            start_ms, end = to_ms(times.started_at), times.completed_at
            if 0 <= end_ms - start_ms <= longest_ms:
                yield start_ms, min(to_ms(end), end_ms) if end and end != last else end_ms
        elif last_local and (local := times.local_span) and last_local - local[0] <= longest_ms * _MS:
            yield end_ms - ceil((last_local - local[0]) / _MS), end_ms - ceil((last_local - local[1]) / _MS)
        elif times.duration_ms is not None:
            untimed.append(times.duration_ms)
    if untimed:
        yield end_ms - ceil(sum(untimed)), end_ms


def _completed_at(leased: LeasedReport, run: UploadedRun) -> datetime:
    """Return the end of the run, which for an untrusted report is at most a day before its receipt.

    The first report decides the time of the run, so with a time of last year, a stranger could let the files of a fork
    expire before the promotion.
    """
    completed_at = _stated_end(leased, run)
    if not leased.is_untrusted or leased.upload.is_promoted:
        return completed_at
    return max(completed_at, leased.received_at - MAX_UNTRUSTED_AGE)


def _stated_end(leased: LeasedReport, run: UploadedRun) -> datetime:
    """Return the end that the request or the report states, or else the time of receipt."""
    return aware(run.get("completed_at") or _effective_time(leased))


def _effective_time(leased: LeasedReport) -> datetime:
    """Return the time of receipt, or the time of the event that refers to the report."""
    event_at = leased.upload.event_at
    return datetime.fromisoformat(event_at) if event_at else leased.received_at


def _names_files(outcome: CaseOutcome) -> bool:
    return any(artifact.path is None for artifact in outcome.artifacts)


def _note(text: str) -> Problem:
    return {"index": None, "name": None, "reason": text}
