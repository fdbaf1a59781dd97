"""The query and the response of the comparison of a run, and the functions that write the response."""

from collections.abc import Mapping
from typing import Annotated

import orjson
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from service.comparison.model import (
    LISTED_CHANGES,
    MAX_LISTED_CASES,
    BaselineChoice,
    Change,
    ComparedRow,
    ComparedRun,
    ComparisonSummary,
    MissingResults,
    parse_baseline,
)
from service.contracts.queries import DIGITS, PageQuery
from service.contracts.responses import PagePosition, Rate, Time, closed
from service.domain.ids import CaseKey, case_public_id
from service.domain.statuses import STATUS_NAMES, ResultStatus, StateValue
from service.domain.timestamps import format_ms, format_time
from service.evidence.model import Evidence, FailureChange
from service.quarantines.model import CaseTexts
from service.results.contract import Result, write_result
from service.runs.model import PartIdentity
from service.splits.contract import MissingItemOut


def _checked_baseline(text: str) -> str:
    parse_baseline(text)
    return text


_NULL_IF_LARGE = Field(description="Null if the run or its baseline has more than 50,000 results")


class ComparisonQuery(PageQuery):
    """A page of the comparison of a run."""

    baseline: Annotated[
        str,
        AfterValidator(_checked_baseline),
        Field(
            description="`window`: the newest runs of the base branch. `branch:<name>`: those of another branch."
            " `run:<run_id>`: one run",
            examples=["run:run_xyz", "branch:main"],
        ),
    ] = "window"
    change: list[Change] = Field(
        default_factory=list, description="Change. Repeat it to match any of several. Default: all except unchanged"
    )

    @property
    def choice(self) -> BaselineChoice:
        """The baseline to compare with."""
        return parse_baseline(self.baseline)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes to list, sorted, so that their order doesn't change the cursor."""
        return tuple(sorted(set(self.change or LISTED_CHANGES)))


@closed
class Baseline(TypedDict):
    """The run with which all results are compared."""

    run_id: str
    branch: str | None
    commit_sha: str | None
    completed_at: Time
    revision: int


@closed
class ChangeCounts(TypedDict):
    """The number of results by change."""

    new_failure: int
    known_failure: int
    flaky_failure: int
    quarantined: int
    fixed: Annotated[int | None, _NULL_IF_LARGE]
    added: Annotated[int | None, _NULL_IF_LARGE]
    removed: Annotated[int | None, _NULL_IF_LARGE]
    unchanged: Annotated[int | None, _NULL_IF_LARGE]


@closed
class ChangeEvidence(TypedDict):
    """The newest segment of the executed results of a case in the window, which has at most 100 runs.

    A segment has one rate of failures: it begins where the behavior of the case changed.
    """

    runs: Annotated[int, Field(description="Runs of the segment")]
    failed: Annotated[int, Field(description="Runs of the segment in which the case failed or had an error")]
    flaky: Annotated[int, Field(description="Runs of the segment in which the case was flaky")]
    failure_rate: Annotated[
        float | None,
        Field(
            description="Mean of the posterior distribution of the rate of bad results, which failed, had an error, or,"
            " unless the failure has several attempts, were flaky. Null without results"
        ),
    ]
    since_run_id: Annotated[
        str | None, Field(description="First run of the segment. Null if the segment begins with the window")
    ]
    consecutive_failures: Annotated[
        int, Field(description="Failures in a row, up to the newest run that executed the case")
    ]
    failing_since_run_id: Annotated[str | None, Field(description="Oldest run of the failures in a row")]
    last_passed_run_id: str | None
    repaired_run_id: Annotated[
        str | None,
        Field(
            description="First run that passed after at least 2 failures in a row, if at most 2 results are newer. The"
            " failure is known, because a branch can still lack the repair"
        ),
    ]
    outages: Annotated[
        int,
        Field(description="Runs of the window that aren't evidence, because more than 80 % of their results failed"),
    ]


@closed
class ComparisonItem(Result):
    """A result of the run, or of the baseline if the change is `removed`."""

    change: Change
    baseline_status: Annotated[ResultStatus | None, Field(description="Status of the case in the baseline")]
    quarantine_id: Annotated[str | None, Field(description="The quarantine that excuses the failure in gates")]
    evidence: Annotated[
        ChangeEvidence | None,
        Field(description="Null if the result isn't failing, or if its case wasn't searched in the window"),
    ]


@closed
class MissingPart(TypedDict):
    """A part, such as a CI job, that the run should contain, and of which no upload or event has results."""

    part: Annotated[str | None, Field(description="Name of the CI job")]
    variant: dict[str, str]
    shard: Annotated[int | None, Field(description="Number of the shard")]


@closed
class MissingCaseOut(TypedDict):
    """A case that the baseline executed and the run doesn't contain, although its part sent results."""

    case: str
    suite: str
    name: str
    variant: dict[str, str]


@closed
class RunComparison(PagePosition):
    """The changes of a run, in the order new, flaky, known, quarantined, fixed, added, removed, unchanged."""

    data: list[ComparisonItem]
    run_id: str
    revision: int
    baseline: Annotated[Baseline | None, Field(description="Null if no earlier run can be compared with")]
    counts: ChangeCounts
    truncated: Annotated[
        bool,
        Field(
            description="More than 1,000 cases fail. Only the first ones were searched in the complete window, so some"
            " of the new failures can be known or flaky"
        ),
    ]
    missing_parts: Annotated[
        list[MissingPart],
        Field(
            description="Parts with results in the baseline and in at least 80 % of the window that sent no results to"
            " this run, and of which at least one executed case has no result here"
        ),
    ]
    missing_cases: Annotated[
        int | None,
        Field(
            description="Number of cases that the baseline executed and the other parts of the run lack. Null if the"
            " run or its baseline has more than 50,000 results"
        ),
    ]
    missing_cases_sample: Annotated[list[MissingCaseOut], Field(description="The first missing cases, at most 20")]
    missing_items: int | None
    missing_items_sample: list[MissingItemOut]


class BacktestQuery(PageQuery):
    """A page of the backtest of a project."""

    days: Annotated[
        int, Field(ge=1, le=3_650, description="Replay the runs of this many days before the newest run"), DIGITS
    ] = 90


@closed
class JudgedFailures(TypedDict):
    """What a version of the rules did to the failures of a run. Quarantines are left out."""

    new_failures: Annotated[int, Field(description="Failures that block the run")]
    flaky_failures: Annotated[int, Field(description="Failures of flaky cases")]
    known_failures: Annotated[int, Field(description="Failures that the base branch has too")]
    excused_failures: Annotated[
        int, Field(description="Flaky failures of the last run of a pull request, which don't block it")
    ]
    excused_real: Annotated[
        int, Field(description="Excused failures of cases that also failed in the next run of the base branch")
    ]
    excused_unverified: Annotated[
        int, Field(description="Excused failures of cases without a result in this run, or if the run is an outage")
    ]


@closed
class ChangedJudgment(TypedDict):
    """The number of failures that version 2 judged differently."""

    before: Annotated[FailureChange, Field(description="By the rules of version 2")]
    now: Annotated[FailureChange, Field(description="By the current rules")]
    failures: Annotated[int, Field(description="Number of failures")]


@closed
class ReplayedRunOut(TypedDict):
    """A failing run of a pull request, judged by the rules of version 2 (0.10) and by the current ones."""

    run_id: str
    pull_request: str
    is_last: Annotated[bool, Field(description="Whether it is the newest complete run of the pull request")]
    completed_at: Time
    failed_cases: Annotated[list[str], Field(description="IDs of the first 1,000 cases that failed")]
    compared: Annotated[bool, Field(description="False if the base branch has no earlier run, or if the run expired")]
    version_2: JudgedFailures
    current: JudgedFailures
    changed: Annotated[list[ChangedJudgment], Field(description="Failures that the versions judge differently")]


@closed
class Backtest(PagePosition):
    """Failing runs of pull requests, oldest first. A page ends early if it takes long."""

    data: list[ReplayedRunOut]
    progress: Annotated[Rate, Field(description="Share of the days that was replayed")]


@closed
class PastStates(TypedDict):
    """The shown states of the cases that weren't healthy after a run of the default branch."""

    run_id: str
    completed_at: Time
    flaky: Annotated[list[str], Field(description="IDs of the flaky cases")]
    broken: Annotated[list[str], Field(description="IDs of the broken cases")]


@closed
class PastStatesList(PagePosition):
    """States after the runs of the default branch, oldest first. A page ends early if it takes long."""

    data: list[PastStates]
    executed: Annotated[int, Field(description="Cases that the newest complete run executed")]
    progress: Annotated[Rate, Field(description="Share of the days that was replayed")]


def write_past_states(run_id: str, completed_ms: int, states: Mapping[CaseKey, StateValue]) -> PastStates:
    """Return the public states after a run, of the cases that aren't healthy."""
    ids: dict[StateValue, list[str]] = {"flaky": [], "broken": []}
    for case, state in states.items():
        ids[state].append(case_public_id(case))
    return {"run_id": run_id, "completed_at": format_ms(completed_ms), "flaky": ids["flaky"], "broken": ids["broken"]}


def write_comparison(summary: ComparisonSummary) -> dict[str, object]:
    """Return the members of the public comparison that are about the complete run."""
    return {
        "run_id": summary.run.run_id,
        "revision": summary.run.revision,
        "baseline": summary.baseline and _write_baseline(summary.baseline),
        "counts": summary.counts,
        "truncated": summary.truncated,
        **write_missing(summary.missing),
    }


def write_missing(missing: MissingResults) -> dict[str, object]:
    """Return the public members about what a run lacks."""
    return {
        "missing_parts": list(map(write_missing_part, missing.parts)),
        "missing_cases": missing.cases,
        "missing_cases_sample": list(map(_write_missing_case, missing.sample)),
        "missing_items": None if missing.items is None else len(missing.items),
        "missing_items_sample": (missing.items or [])[:MAX_LISTED_CASES],
    }


def write_missing_part(part: PartIdentity) -> MissingPart:
    """Return the public object of a missing part. A field that the part doesn't have is null, or an empty variant."""
    name, variant, shard = part
    return {"part": name or None, "variant": orjson.loads(variant) if variant else {}, "shard": shard or None}


def _write_missing_case(case: CaseTexts) -> MissingCaseOut:
    return {
        "case": case_public_id(case.case_key), "suite": case.suite, "name": case.name, "variant": dict(case.variant),
    }  # fmt: skip


def write_comparison_item(row: ComparedRow) -> ComparisonItem:
    """Return the public object of a result with its change."""
    compared = row.compared
    return {
        **write_result(row.result),
        "change": compared.change,
        "baseline_status": None if compared.baseline_status is None else STATUS_NAMES[compared.baseline_status],
        "quarantine_id": compared.quarantine_id,
        "evidence": compared.evidence and _write_evidence(compared.evidence),
    }


def _write_baseline(run: ComparedRun) -> Baseline:
    return {
        "run_id": run.run_id,
        "branch": run.branch,
        "commit_sha": run.commit_sha,
        "completed_at": format_time(run.completed_at),
        "revision": run.revision,
    }


def _write_evidence(evidence: Evidence) -> ChangeEvidence:
    return {
        "runs": evidence.runs,
        "failed": evidence.failed,
        "flaky": evidence.flaky,
        "failure_rate": None if evidence.failure_rate is None else round(evidence.failure_rate, 4),
        "since_run_id": evidence.since_run_id,
        "consecutive_failures": evidence.consecutive_failures,
        "failing_since_run_id": evidence.failing_since_run_id,
        "last_passed_run_id": evidence.last_passed_run_id,
        "repaired_run_id": evidence.repaired_run_id,
        "outages": evidence.outages,
    }
