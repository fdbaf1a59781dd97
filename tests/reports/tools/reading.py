"""What an upload of a report stores about each case, in the form in which the API returns it.

case = read_case(CORPUS / "gen-jest-dayjs.xml", "is same")
assert (case.status, case.duration_ms, case.summary) == ("failed", 3, "expected 1, got 2")
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest

from service.cases.model import Case, KnownCases
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import CaseKey, OrgId
from service.domain.statuses import STATUS_CODES, STATUS_NAMES
from service.failures.fingerprints import Fingerprinter
from service.failures.model import summarize_failure
from service.ingest.parse_results import IndexedResults, Occurrences, parse_valid_results
from service.reports.conversion.uploads import ReadUpload, ReportFile, read_upload
from service.reports.model import ReportLimits, StoredPart, Upload
from service.reports.parse_report import ParsedReport
from service.reports.store import LeasedReport
from service.reports.store_uploads import StoredOutput
from service.results.model import UNKNOWN_DURATION_MS, Attempt, CaseOutcome
from service.tasks.model import Lease
from tests.reports.manifests import CORPUS

needs_corpus: Final = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")

RECEIVED_AT: Final = datetime(2027, 1, 1, tzinfo=UTC)
_ORG: Final = OrgId(1)
_STORED: Final = StoredPart("path", "name", None, 0, "")
_OUTPUT: Final = StoredOutput(StoredPart("text", "name", None, 0, ""), StoredPart("embedded", "name", None, 0, ""))
_RETENTION: Final = timedelta(days=20 * 365)


UploadedFiles = Mapping[str, bytes] | Mapping[None, bytes]  # the content by the name in the upload


class ReadAttempt(NamedTuple):
    """One execution of a case."""

    status: str
    duration_ms: int | None
    started_at: str | None
    type: str | None
    message: str | None
    details: str | None


class EmbeddedFile(NamedTuple):
    """A file that a report contains."""

    kind: str
    content_type: str | None
    content: bytes


class ReadCase(NamedTuple):
    """A case and its outcome. `summary` is the `failure_summary`, and the other texts are those of the last attempt.

    `output` contains the texts of the log artifacts by name, `embedded` the files that the report contains, and `files`
    the artifacts that the report refers to.
    `attempts` is empty if the case passed in its only attempt.
    """

    suite: str
    name: str
    occurrence: int
    file: str | None
    line: int | None
    status: str
    flaky: bool
    duration_ms: int | None
    started_at: str | None
    summary: str | None
    type: str | None
    message: str | None
    details: str | None
    output: dict[str, str]
    properties: dict[str, str]
    attempts: tuple[ReadAttempt, ...]
    attempt_count: int
    files: dict[str, str | None]
    variant: str
    key: CaseKey
    embedded: dict[str, EmbeddedFile]


class ReadRun(NamedTuple):
    """The run of a report that was received at `RECEIVED_AT`. `problems` are those of the receipt.

    `output` contains the outputs of suites, which are artifacts of the run, by name.
    """

    cases: tuple[ReadCase, ...]
    started_at: str | None
    completed_at: str | None
    problems: tuple[str, ...]
    failures_missing: bool
    output: dict[str, str]


def read_case(path: Path, name: str, suite: str | None = None, occurrence: int = 0) -> ReadCase:
    """Return the only case with this name, suite (if given), and occurrence in the report."""
    cases = [case for case in read_run(path).cases if (case.name, case.occurrence) == (name, occurrence)]
    found = [case for case in cases if suite is None or case.suite == suite]
    assert len(found) == 1, f"{len(found)} cases {name!r} in {sorted({case.suite for case in cases})}"
    return found[0]


@lru_cache(maxsize=20)
def read_run(path: Path, content_type: str | None = None) -> ReadRun:
    """Return the run and the cases of a report in the order of the report, read as an upload is read.

    A folder is read as one upload of all its files.
    """
    if not path.is_dir():
        return read_files({None: path.read_bytes()}, content_type)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return read_files({file.relative_to(path).as_posix(): file.read_bytes() for file in files}, content_type)


def read_files(files: UploadedFiles, content_type: str | None = None) -> ReadRun:
    """Return the run and the cases of these files with their names, read as one upload. Raises ReportError."""
    with TemporaryDirectory() as folder:
        read = read_upload(list(_copied(files, Path(folder), content_type)), ReportLimits())
        output, embedded = (written.read_bytes() if written else b"" for written in (read.output, read.embedded))
        report = _parsed(read)
        cases = tuple(_cases(report, output, embedded))
    state = report.event.state
    completed_at = _time(state.completed_ms) if state.completed_ms != _ms(RECEIVED_AT) else None
    problems = tuple(problem["reason"] for problem in report.problems)
    suites = {part["name"]: _text(part["offset"], part["size"], output) for part in read.suite_output}
    return ReadRun(cases, _time(state.started_ms), completed_at, problems, state.failures_missing, suites)


def _copied(files: UploadedFiles, folder: Path, content_type: str | None) -> Iterator[ReportFile]:
    for index, (name, content) in enumerate(files.items()):
        source = folder / f"report-{index}"
        source.write_bytes(content)
        yield ReportFile(source, folder / f"results-{index}", name, content_type, None)


def outline(path: Path) -> list[tuple[Any, ...]]:
    """Return suite, name, file, line, status, duration, and summary of all cases of a report."""
    return [
        (case.suite, case.name, case.file, case.line, case.status, case.duration_ms, case.summary)
        for case in read_run(path).cases
    ]


def _parsed(read: ReadUpload) -> ParsedReport:
    lease = Lease(_ORG, "rcp_1", UUID(int=0))
    upload = Upload(reports=(_STORED,), run={"project_id": "shop"})
    leased = LeasedReport(lease, "test", "event_1", bytes(32), "run_1", upload.to_document(), 1, RECEIVED_AT)
    return ParsedReport(leased, read, _RETENTION, _OUTPUT)


def _cases(report: ParsedReport, output: bytes, embedded: bytes) -> Iterator[ReadCase]:
    known = KnownCases.of(BoundedCache(0), _ORG, None)
    fingerprints = Fingerprinter(0)
    cases: dict[CaseKey, Case] = {}
    order: dict[CaseKey, int] = {}

    def parse(results: IndexedResults, occurrences: Occurrences) -> dict[CaseKey, CaseOutcome]:
        outcomes, unseen = parse_valid_results(report.event, results, known, fingerprints, occurrences)
        cases.update({key: case for key, (_, case) in unseen.items()})
        order.update({key: index for key, (index, _) in unseen.items()})
        return outcomes

    outcomes: dict[CaseKey, CaseOutcome] = {}
    for batch in report.batches(parse):
        outcomes.update(batch)
    for key in sorted(outcomes, key=lambda key: order[key]):
        yield _read_case(cases[key], outcomes[key], output, embedded)


def _read_case(case: Case, outcome: CaseOutcome, output: bytes, embedded: bytes) -> ReadCase:
    last: Attempt | None = outcome.attempts[-1] if outcome.attempts else None
    failure: tuple[Any, ...] = (last.type, last.message, last.details) if last else (None, None, None)
    has_failure = outcome.status != STATUS_CODES["passed"] and any(failure)
    return ReadCase(
        suite=case.suite, name=case.name, occurrence=case.occurrence, file=case.file,
        line=last.line if last else None, status=STATUS_NAMES[outcome.status], flaky=outcome.flaky,
        duration_ms=_duration(outcome.duration_ms), started_at=_time(outcome.started_ms),
        summary=summarize_failure(*failure) if has_failure else None,
        type=failure[0], message=failure[1], details=failure[2],
        output={
            part.name: _text(part.byte_offset, part.size, output) for part in outcome.artifacts if part.path == "text"
        },
        properties=(last.properties or {}) if last else {},
        attempts=tuple(map(_read_attempt, outcome.attempts)), attempt_count=outcome.attempt_count,
        files={part.name: part.uri for part in outcome.artifacts if not part.path},
        variant=case.variant, key=outcome.case_key,
        embedded={
            part.name: EmbeddedFile(part.kind, part.content_type, _slice(part.byte_offset, part.size, embedded))
            for part in outcome.artifacts if part.path == "embedded"
        },
    )  # fmt: skip


def _read_attempt(attempt: Attempt) -> ReadAttempt:
    times = _duration(attempt.duration_ms), _time(attempt.started_ms)
    return ReadAttempt(STATUS_NAMES[attempt.status], *times, attempt.type, attempt.message, attempt.details)


def _text(offset: int | None, size: int | None, output: bytes) -> str:
    return _slice(offset, size, output).decode()


def _slice(offset: int | None, size: int | None, data: bytes) -> bytes:
    assert offset is not None
    assert size
    return data[offset : offset + size]


def _duration(duration_ms: int) -> int | None:
    return duration_ms if duration_ms != UNKNOWN_DURATION_MS else None


def _time(ms: int | None) -> str | None:
    """Return the time as in responses, such as `2026-11-01T12:00:00.000Z`, or None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
