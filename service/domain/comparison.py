"""The rules of a comparison: the change of each result against a baseline, and the evidence of a failure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final, Literal, NamedTuple, cast, get_args

from service.domain.ids import CaseKey, RunKey
from service.domain.missing import MissingResults
from service.domain.results import FAILING_CODES
from service.domain.rows import ResultRow
from service.domain.statuses import STATUS_CODES, Counts

Change = Literal[
    "new_failure", "flaky_failure", "known_failure", "quarantined", "fixed", "added", "removed", "unchanged"
]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)  # in the order of the list
FAILING_CHANGES: Final[tuple[Change, ...]] = CHANGES[:4]
OTHER_CHANGES: Final[tuple[Change, ...]] = CHANGES[4:]
LISTED_CHANGES: Final[tuple[Change, ...]] = CHANGES[:-1]  # without a filter
ORDER: Final[Mapping[Change, int]] = {change: position for position, change in enumerate(CHANGES)}

RULES_VERSION: Final = 2  # part of the digest of a decision: another version can decide differently

WINDOW_RUNS: Final = 20
EXAMINED_RUNS: Final = 2_000  # to find the runs of the window
MAX_SEARCHED_CASES: Final = 1_000  # failing cases that are searched in the complete window
MAX_COMPARED_RESULTS: Final = 50_000  # of each run

BaselineKind = Literal["window", "run", "branch"]
_MIN_UNRELIABLE: Final = 2  # results of a case in the window that were flaky or failing
_COMPLETE_SHARE: Final = 0.8  # of the median number of executed results in the window: a run with fewer is partial
_PASSED: Final = STATUS_CODES["passed"]
_SKIPPED_CODES: Final = frozenset({STATUS_CODES["skipped"], STATUS_CODES["canceled"]})  # not executed
_NO_RESULT: Final = "-"
_MAX_RUN_ID: Final = 200
_MAX_BRANCH: Final = 400


class BaselineChoice(NamedTuple):
    """What a run is compared with: the window of its baseline branch, or the run or branch with this name."""

    kind: BaselineKind = "window"
    name: str = ""


class PastResult(NamedTuple):
    """The result of a case in a run of the window. `status` is a status code."""

    run_id: str
    status: str
    flaky: bool


class Evidence(NamedTuple):
    """The executed results of a case in the window.

    `failing_since_run_id` is the oldest run of the unbroken series of failures that ends at the newest run that
    executed the case.
    """

    runs: int
    failed: int
    flaky: int
    failing_since_run_id: str | None
    last_passed_run_id: str | None


class ListPosition(NamedTuple):
    """A position in the list of a comparison, which is sorted by change and case."""

    order: int
    case_key: CaseKey


LIST_START: Final = ListPosition(-1, CaseKey(0))


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run that is compared, or a run of its window."""

    run_key: RunKey
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    commit_sha: str | None
    completed_at: datetime
    revision: int
    complete: bool
    status: str
    failures_missing: bool
    results_expired: bool
    created_at: datetime
    sent_at_once: bool
    trusted: bool
    counts: Counts

    @property
    def executed(self) -> int:
        """The number of results that passed, failed, or had an error."""
        return self.counts.passed + self.counts.failed + self.counts.error


@dataclass(frozen=True, slots=True)
class ComparedResult:
    """A result of the compared run, or of the baseline if the change is `removed`. `baseline_status` is a status code.

    `evidence` is None if the case wasn't searched in the window.
    """

    case_key: CaseKey
    change: Change
    baseline_status: str | None
    quarantine_id: str | None = None
    evidence: Evidence | None = None

    @property
    def position(self) -> ListPosition:
        """The position in the list of the comparison."""
        return ListPosition(ORDER[self.change], self.case_key)


class ComparedRow(NamedTuple):
    """A listed result with its change. The result is that of the baseline if the change is `removed`."""

    result: ResultRow
    compared: ComparedResult


class ComparisonSummary(NamedTuple):
    """What a comparison states about the complete run. A count is None if a run is too large to count it."""

    run: ComparedRun
    baseline: ComparedRun | None
    counts: Mapping[Change, int | None]
    truncated: bool
    missing: MissingResults


class StatusPair(NamedTuple):
    """The status codes of a case in the compared run and in the baseline; None if the run has no result of the case."""

    status: str | None
    baseline_status: str | None

    @property
    def code(self) -> str:
        """The pair as two characters, as SQL compares it."""
        return (self.status or _NO_RESULT) + (self.baseline_status or _NO_RESULT)

    @classmethod
    def parse(cls, code: str) -> "StatusPair":
        """Return the pair with this code."""
        status, baseline_status = (None if letter == _NO_RESULT else letter for letter in code)
        return cls(status, baseline_status)


def parse_baseline(text: str) -> BaselineChoice:
    """Return the choice for `window`, `run:<run_id>`, or `branch:<name>`. Raises ValueError."""
    kind, _, name = text.partition(":")
    limits = {"run": _MAX_RUN_ID, "branch": _MAX_BRANCH}
    if text == "window":
        return BaselineChoice()
    if kind not in limits or not name or len(name) > limits[kind] or "\0" in name:
        raise ValueError("must be window, run:<run_id>, or branch:<name>")
    return BaselineChoice(cast("BaselineKind", kind), name)


def find_baseline(executed_results: Sequence[int]) -> int | None:
    """Return the index of the baseline: the newest run of the window that isn't partial. None for an empty window.

    `executed_results` is the number of executed results of each run, newest first. For example, of runs with 10, 500,
    and 510 results, the baseline is the second one.
    """
    if not executed_results:
        return None
    least = _COMPLETE_SHARE * median(executed_results)
    return next(index for index, count in enumerate(executed_results) if count >= least)


def executed(results: Sequence[PastResult]) -> list[PastResult]:
    """Return the results that passed, failed, or had an error, in the same order."""
    return [result for result in results if result.status not in _SKIPPED_CODES]


def classify_failing(window: Sequence[PastResult], *, is_quarantined: bool) -> Change:
    """Return the change of a failing result. `window` contains the executed results of the case, newest first."""
    if is_quarantined:
        return "quarantined"
    if window and window[0].status in FAILING_CODES:
        return "known_failure"
    unreliable = sum(1 for result in window if result.flaky or result.status in FAILING_CODES)
    return "flaky_failure" if unreliable >= _MIN_UNRELIABLE else "new_failure"


def classify_other(pair: StatusPair) -> Change:
    """Return the change of a result that isn't failing, or of a case that only the baseline has."""
    if pair.status is None:
        return "removed"
    if pair.baseline_status is None:
        return "added"
    is_fixed = pair.status == _PASSED and pair.baseline_status in FAILING_CODES
    return "fixed" if is_fixed else "unchanged"


def collect_evidence(window: Sequence[PastResult]) -> Evidence:
    """Return the evidence of the executed results of a case, newest first."""
    failing_since = None
    for result in window:
        if result.status not in FAILING_CODES:
            break
        failing_since = result.run_id
    return Evidence(
        runs=len(window),
        failed=sum(1 for result in window if result.status in FAILING_CODES),
        flaky=sum(1 for result in window if result.flaky),
        failing_since_run_id=failing_since,
        last_passed_run_id=next((result.run_id for result in window if result.status == _PASSED), None),
    )


def other_pairs() -> dict[StatusPair, Change]:
    """Return every pair of statuses of a case that isn't failing in the compared run, with its change."""
    codes = (None, *STATUS_CODES.values())
    pairs = (StatusPair(status, baseline) for status in codes for baseline in codes)
    return {pair: classify_other(pair) for pair in pairs if pair != (None, None) and pair.status not in FAILING_CODES}


def count_failing(failures: Sequence[ComparedResult], failing: int) -> dict[Change, int]:
    """Return the number of failing results by change. `failing` is the number of all failing results of the run.

    A failing result that wasn't compared, because the run has more than `MAX_COMPARED_RESULTS`, is a new failure.
    """
    counted = Counter(failure.change for failure in failures)
    if len(failures) >= MAX_COMPARED_RESULTS:
        counted["new_failure"] += max(0, failing - len(failures))
    return {change: counted[change] for change in FAILING_CHANGES}
