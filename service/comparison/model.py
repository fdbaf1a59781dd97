"""The rules of a comparison: the change of each result, the evidence of a failure, and what a run lacks; and texts."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from service.domain.globs import SearchedText
from service.domain.ids import CaseKey, RunKey
from service.domain.statuses import STATUS_CODES, Counts, ResultStatus
from service.domain.texts import Quote
from service.evidence.model import Evidence, EvidenceRun, is_mass_failure, is_outage, select_evidence
from service.quarantines.model import CaseTexts
from service.receipts.model import describe_part
from service.results.model import FAILING_CODES
from service.results.rows import ResultRow
from service.runs.model import PartIdentity

RULES_VERSION: Final = 3  # part of the digest of a decision: another version can decide differently
WINDOW_RUNS: Final = 100
RECENT_RUNS: Final = 20  # of the window: those that decide the baseline and the expected parts
EXAMINED_RUNS: Final = 2_000  # to find the runs of the window
MAX_SEARCHED_CASES: Final = 1_000  # failing cases that are searched in the complete window
MAX_COMPARED_RESULTS: Final = 50_000  # of each run
MAX_LISTED_CASES: Final = 20
MAX_ALLOWED_PARTS: Final = 50  # globs of a request
_COMPLETE_SHARE: Final = 0.8  # of the median number of executed results of recent runs: a run with fewer is partial
_EXPECTED_SHARE: Final = 0.8  # of the recent runs
_MAX_RUN_ID: Final = 200
_MAX_BRANCH: Final = 400
_PASSED: Final = STATUS_CODES["passed"]
_NO_RESULT: Final = "-"
_SHOWN_COMMIT: Final = 10  # digits of a commit that are shown
_MAX_NAMED_PARTS: Final = 10  # missing parts that are named

Change = Literal[
    "new_failure", "flaky_failure", "known_failure", "quarantined", "fixed", "added", "removed", "unchanged"
]
CHANGES: Final[tuple[Change, ...]] = get_args(Change)  # in the order of the list
FAILING_CHANGES: Final[tuple[Change, ...]] = CHANGES[:4]
OTHER_CHANGES: Final[tuple[Change, ...]] = CHANGES[4:]
LISTED_CHANGES: Final[tuple[Change, ...]] = CHANGES[:-1]  # without a filter
ORDER: Final[Mapping[Change, int]] = {change: position for position, change in enumerate(CHANGES)}

BaselineKind = Literal["window", "run", "branch"]


class BaselineChoice(NamedTuple):
    """What a run is compared with: the window of its baseline branch, or the run or branch with this name."""

    kind: BaselineKind = "window"
    name: str = ""


def parse_baseline(text: str) -> BaselineChoice:
    """Return the choice for `window`, `run:<run_id>`, or `branch:<name>`. Raises ValueError."""
    kind, _, name = text.partition(":")
    limits = {"run": _MAX_RUN_ID, "branch": _MAX_BRANCH}
    if text == "window":
        return BaselineChoice()
    if kind not in limits or not name or len(name) > limits[kind] or "\0" in name:
        raise ValueError("must be window, run:<run_id>, or branch:<name>")
    return BaselineChoice(cast("BaselineKind", kind), name)


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

    @property
    def failed(self) -> int:
        """The number of results that failed or had an error."""
        return self.counts.failed + self.counts.error

    @property
    def is_outage(self) -> bool:
        """Whether the run says nothing about its cases."""
        return is_outage(self.executed, self.failed)

    @property
    def as_evidence(self) -> EvidenceRun:
        """What a history states about the run."""
        return EvidenceRun(self.run_id, self.commit_sha, is_mass_failure(self.executed, self.failed))


class ComparisonWindow(NamedTuple):
    """The runs to compare with, newest first: all of them, and those whose results are evidence.

    `baseline` is the one with which all results are compared. None means that there are no runs.
    """

    runs: Sequence[ComparedRun]
    evidence: Sequence[ComparedRun]
    baseline: ComparedRun | None

    @property
    def recent(self) -> Sequence[ComparedRun]:
        """The runs with which the executed results and the parts of a run are compared."""
        return self.runs[:RECENT_RUNS]

    @classmethod
    def divide(cls, runs: Sequence[ComparedRun]) -> "ComparisonWindow":
        """Return the window of these runs.

        An outage is no baseline, unless the newest outages are evidence: then the branch itself is broken.
        """
        evidence = [runs[index] for index in select_evidence([run.is_outage for run in runs])]
        if not evidence or evidence[0].is_outage:
            return cls(runs, evidence, evidence[0] if evidence else None)
        compared = [run for run in runs[:RECENT_RUNS] if not run.is_outage]
        return cls(runs, evidence, compared[find_baseline([run.executed for run in compared])])


def find_baseline(executed_results: Sequence[int]) -> int:
    """Return the index of the baseline: the newest run that isn't partial.

    `executed_results` is the number of executed results of each run, newest first. For example, of runs with 10, 500,
    and 510 results, the baseline is the second one.
    """
    least = _COMPLETE_SHARE * median(executed_results)
    return next(index for index, count in enumerate(executed_results) if count >= least)


def largest_complete(executed: Iterable[Sequence[int]]) -> int:
    """Return the number of results of the newest run that isn't partial, in the environment with the most.

    `executed` is, for each environment, the number of executed results of each run, newest first.
    """
    return max((counts[find_baseline(counts)] for counts in executed if counts), default=0)


class ListPosition(NamedTuple):
    """A position in the list of a comparison, which is sorted by change and case."""

    order: int
    case_key: CaseKey


LIST_START: Final = ListPosition(-1, CaseKey(0))


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
    """A listed result with its change. It is the result of the baseline if the change is `removed`."""

    result: ResultRow
    compared: ComparedResult


def count_failing(failures: Sequence[ComparedResult], failing: int) -> dict[Change, int]:
    """Return the number of failing results by change. `failing` is the number of all failing results of the run.

    A failing result that wasn't compared, because the run has more than `MAX_COMPARED_RESULTS`, is a new failure.
    """
    counted = Counter(failure.change for failure in failures)
    if len(failures) >= MAX_COMPARED_RESULTS:
        counted["new_failure"] += max(0, failing - len(failures))
    return {change: counted[change] for change in FAILING_CHANGES}


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


def classify_other(pair: StatusPair) -> Change:
    """Return the change of a result that isn't failing, or of a case that only the baseline has."""
    if pair.status is None:
        return "removed"
    if pair.baseline_status is None:
        return "added"
    is_fixed = pair.status == _PASSED and pair.baseline_status in FAILING_CODES
    return "fixed" if is_fixed else "unchanged"


def other_pairs() -> dict[StatusPair, Change]:
    """Return every pair of statuses of a case that isn't failing in the compared run, with its change."""
    codes = (None, *STATUS_CODES.values())
    pairs = (StatusPair(status, baseline) for status in codes for baseline in codes)
    return {pair: classify_other(pair) for pair in pairs if pair != (None, None) and pair.status not in FAILING_CODES}


class FailingCaseRow(NamedTuple):
    """A result of a run that failed, as events list it."""

    run_key: RunKey
    case_key: CaseKey
    status: ResultStatus
    failure_summary: str | None
    case_id: str | None
    variant: Mapping[str, str]
    suite: str
    name: str
    file: str | None


@dataclass(frozen=True, slots=True)
class MissingResults:
    """The missing parts of a run, and the number of missing cases of its other parts with the first of them.

    `cases` is None if the run or its baseline is too large to compare. `splits` are the public objects of the
    splits of the run, or None if there are too many.
    """

    parts: Sequence[PartIdentity] = ()
    cases: int | None = 0
    sample: Sequence[CaseTexts] = ()
    splits: Sequence[Mapping[str, Any]] | None = ()

    @property
    def items(self) -> Sequence[Mapping[str, Any]] | None:
        """The items that no job executed, or None if they are unknown, or if the run has no split."""
        return [item for split in self.splits for item in split["missing_items"]] if self.splits else None


NOTHING_MISSING: Final = MissingResults()


class ComparisonSummary(NamedTuple):
    """What a comparison states about the complete run. A count is None if a run is too large to count it."""

    run: ComparedRun
    baseline: ComparedRun | None
    counts: Mapping[Change, int | None]
    truncated: bool
    missing: MissingResults


class ComparedPart(NamedTuple):
    """A part of a run or of its baseline.

    `is_accepted` is true if the part has results in the run, or if an event states that none are expected. `runs` is
    the number of runs of the window that have results of the part. `numbers` are the numbers of the part in the
    baseline. They are empty if the baseline has no results of the part.
    """

    identity: PartIdentity
    runs: int
    is_accepted: bool
    numbers: Sequence[int]


def find_absent(parts: Sequence[ComparedPart], window_runs: int, *, sent_at_once: bool) -> set[PartIdentity]:
    """Return the parts that a run should contain and that aren't accepted.

    A run should contain the parts of the baseline that most runs of the window have. For example, a job that only 3 of
    20 runs have, because it is executed at night, isn't expected. No part is expected in two cases: an earlier version
    stored the run without its parts; or one upload completed the run (`sent_at_once`) and it is of another job than the
    baseline, so each job has its own run.
    """
    of_baseline = [part for part in parts if part.numbers]
    accepted = _names(part for part in parts if part.is_accepted)
    if not accepted or (sent_at_once and accepted.isdisjoint(_names(of_baseline))):
        return set()
    least = _EXPECTED_SHARE * window_runs
    return {part.identity for part in of_baseline if part.runs >= least and not part.is_accepted}


def _names(parts: Iterable[ComparedPart]) -> set[str]:
    return {part.identity[0] for part in parts}


class AllowedParts:
    """The parts that a request allows to be missing, by globs of their names, which can be empty."""

    def __init__(self, globs: Collection[str] = ()) -> None:
        self._globs = globs

    def contain(self, part: PartIdentity) -> bool:
        """Return whether the part can be missing."""
        name = SearchedText(part[0])
        return any(name.matches(glob) for glob in self._globs)


def full_name(result: Mapping[str, Any]) -> str:
    """Return the name of a result with its suite and variant."""
    variant = describe_variant(result)
    named = " > ".join(filter(None, (result["suite"], result["name"])))
    return f"{named} [{variant}]" if variant else named


def describe_variant(result: Mapping[str, Any]) -> str:
    """Return the pairs of the variant of a result, or an empty text."""
    return ", ".join(f"{name}: {value}" for name, value in result["variant"].items())


def describe_baseline(baseline: Mapping[str, Any] | None, quote: Quote = str) -> str:
    """Return which run a run was compared with. None means that there is no such run."""
    if baseline is None:
        return "not compared: there is no earlier complete run on the base branch"
    parts = [f"compared with run {quote(baseline['run_id'])}"]
    if baseline["branch"]:
        parts.append(f"on {quote(baseline['branch'])}")
    if baseline["commit_sha"]:
        parts.append(f"at commit {quote(baseline['commit_sha'][:_SHOWN_COMMIT])}")
    return " ".join(parts)


def describe_missing_parts(
    missing: Sequence[Mapping[str, Any]],
    present: Sequence[Mapping[str, Any]],
    canceled: Collection[str] = (),
    quote: Quote = str,
) -> str | None:
    """Return which of the parts of a run sent no results, or None if no part is missing. Names the canceled jobs."""
    if not missing:
        return None
    listed = "; ".join(_describe_missing_part(part, canceled, quote) for part in missing[:_MAX_NAMED_PARTS])
    more = f"; and {len(missing) - _MAX_NAMED_PARTS} more" if len(missing) > _MAX_NAMED_PARTS else ""
    total = len(missing) + sum(1 for part in present if not any(_is_same_part(part, other) for other in missing))
    return f"{len(missing)} of {total} {'job' if total == 1 else 'jobs'} sent no results: {listed}{more}"


def describe_missing_items(found: Mapping[str, Any], quote: Quote = str) -> str | None:
    """Return which items of splits no job executed, or None. `found` is a comparison or decision of any version."""
    count, items = found.get("missing_items"), found.get("missing_items_sample") or ()
    if not count:
        return None
    listed = "; ".join(_describe_missing_item(item, quote) for item in items[:_MAX_NAMED_PARTS])
    more = f"; and {count - _MAX_NAMED_PARTS} more" if count > _MAX_NAMED_PARTS else ""
    return f"{count} {'item' if count == 1 else 'items'} of splits not executed: {listed}{more}"


def _describe_missing_item(item: Mapping[str, Any], quote: Quote) -> str:
    part = f"part {item['index']} of " if item["index"] else ""
    reason = "no upload" if item["reason"] == "no_upload" else "no results"
    return f"{quote(item['item'])} ({reason}, {part}split {quote(item['key'])})"


def _is_same_part(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(first[name] == second[name] for name in ("part", "variant", "shard"))


def _describe_missing_part(part: Mapping[str, Any], canceled: Collection[str], quote: Quote) -> str:
    notes = ["canceled"] if part.get("part") in canceled else []
    notes += ["allowed"] if part.get("allowed") else []
    return describe_part(part, notes, "a job without a name", quote)


def describe_quarantine(quarantine: Mapping[str, Any], quote: Quote = str) -> str:
    """Return why and until when a quarantine excuses failures."""
    parts = [f"quarantined until {quarantine['expires_at'][:10]}: {quote(quarantine['reason'])}"]
    if quarantine["owner"]:
        parts.append(f"owner {quote(quarantine['owner'])}")
    if quarantine["ticket_url"]:
        parts.append(quote(quarantine["ticket_url"]))
    return ", ".join(parts)
