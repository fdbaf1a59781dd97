"""The public case: its schema, and the function that writes it for lists, rankings, and one case."""

from collections.abc import Mapping
from typing import Annotated, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from service.cases.model import CASE_FILTERS, Case, CaseRow, OwnerRow, RankedCases, Ranking
from service.contracts.queries import (
    DEFAULT_LIMIT,
    DIGITS,
    NEXT_PAGE,
    Cursor,
    Name,
    Query,
    ResultFilters,
    SuiteName,
    with_parameters,
)
from service.contracts.responses import Day, PagePosition, Rate, Time, closed
from service.domain.ids import CaseKey, case_public_id
from service.domain.statuses import ResultStatus
from service.domain.timestamps import format_known_ms
from service.states.contract import StateObject, write_state


class CaseIdentity(TypedDict):
    """The names of a case, and its owners."""

    id: Annotated[str, StringConstraints(pattern=r"^case_[0-9a-f]{16}$")]
    project_id: str
    case_id: str | None
    variant: dict[str, str]
    suite: str
    name: str
    file: str | None
    owners: Annotated[list[str], Field(description="Names from CODEOWNERS, a map of owners, or a property of the test")]


_CostsRange = TypedDict(
    "_CostsRange",
    {"from": Annotated[Day, Field(description="First day")], "to": Annotated[Day, Field(description="Last day")]},
)


@closed
class CaseCosts(_CostsRange):
    """The costs of a case on these days in UTC."""

    runs: Annotated[int, Field(description="Runs of the project on these days")]
    results: Annotated[int, Field(description="Results of the case")]
    attempts: Annotated[int, Field(description="Executions, including those that were repeated; none if skipped")]
    duration_ms: Annotated[int, Field(description="Of all executions with a known duration")]
    retry_duration_ms: Annotated[int, Field(description="Of failing executions that were repeated in their run")]


@closed
class CaseSummary(CaseIdentity):
    """A case with statistics over its latest runs.

    The statistics cover the latest runs with a result of the case. The query parameter `runs` sets their number
    (default: 50). The list searches the project's latest 200 runs, and a request for one case the latest 2,000. Rates
    and durations cover only executed results (passed, failed, or error), not skipped or canceled ones. If no result
    was executed, all four values are null.
    """

    last_status: Annotated[
        ResultStatus | None, Field(description="Status in the latest of these runs, including skipped and canceled")
    ]
    last_run_id: str | None
    last_completed_at: Time | None
    runs: Annotated[int, Field(description="Number of runs found, including skipped and canceled results")]
    executed: Annotated[int, Field(description="Runs that executed the case")]
    failed: Annotated[int, Field(description="Runs in which the case failed or had an error")]
    flaky: Annotated[int, Field(description="Runs in which the case was flaky")]
    failure_rate: Annotated[Rate | None, Field(description="Share of the executed results that failed or had an error")]
    flaky_rate: Annotated[Rate | None, Field(description="Share of the executed results that are flaky")]
    mean_duration_ms: Annotated[int | None, Field(description="Mean over the executed results")]
    p95_duration_ms: Annotated[int | None, Field(description="95th percentile over the executed results")]
    trusted: Annotated[bool, Field(description="False if only untrusted runs contain the case, so that lists omit it")]
    state: StateObject
    costs: Annotated[CaseCosts | None, Field(description="Only with `sort=total_duration`")]


@closed
class CaseList(PagePosition):
    """Cases grouped by suite, or the cases of a ranking. The statistics of a ranking cover the ranked runs."""

    data: list[CaseSummary]
    truncated: NotRequired[
        Annotated[bool, Field(description="Only with `sort`: a limit was reached, so the ranking omits runs or cases")]
    ]


def write_identity(key: CaseKey, case: Case | CaseRow, variant: Mapping[str, str]) -> CaseIdentity:
    """Return the public names of a case with this variant."""
    return {
        "id": case_public_id(key),
        "project_id": case.project_id,
        "case_id": case.case_id,
        "variant": dict(variant),
        "suite": case.suite,
        "name": case.name,
        "file": case.file,
        "owners": list(case.owners or ()),
    }


def write_ranked(ranked: RankedCases) -> list[CaseSummary]:
    """Return the public objects of the cases of a ranking."""
    if (days := ranked.costs_of) is None:
        return list(map(write_case, ranked.cases))
    summaries = list(map(write_case, ranked.cases))
    for case, summary in zip(ranked.cases, summaries, strict=True):
        sums = ranked.costs[case.case_key]
        summary["costs"] = {
            "from": days.first.isoformat(),
            "to": days.last.isoformat(),
            "runs": days.runs,
            "results": sums.results,
            "attempts": sums.attempts,
            "duration_ms": sums.duration_ms,
            "retry_duration_ms": sums.retry_ms,
        }
    return summaries


def write_case(case: CaseRow) -> CaseSummary:
    """Return the public object of a case."""
    return {
        **write_identity(case.case_key, case, case.variant),
        "last_status": case.last_status,
        "last_run_id": case.last_run_id,
        "last_completed_at": format_known_ms(case.last_completed_ms),
        "runs": case.runs,
        "executed": case.executed,
        "failed": case.failed,
        "flaky": case.flaky,
        "failure_rate": case.failure_rate,
        "flaky_rate": case.flaky_rate,
        "mean_duration_ms": case.mean_duration_ms,
        "p95_duration_ms": case.p95_duration_ms,
        "trusted": case.trusted,
        "state": write_state(case.state),
        "costs": None,
    }


RunCount = Annotated[int, Field(ge=1, le=200, description="Number of newest runs in the statistics"), DIGITS]


class CaseQuery(Query):
    """One case."""

    runs: RunCount = 50


@with_parameters(CASE_FILTERS)
class CasesQuery(CaseQuery, ResultFilters):
    """A page of the list of a project's cases, or a ranked list of them."""

    project_id: Annotated[Name | None, Field(description="Required unless the key is bound to a project")] = None
    suite: SuiteName | None = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of items"), DIGITS] = DEFAULT_LIMIT
    starting_after: Annotated[Cursor | None, Field(description=NEXT_PAGE)] = None
    sort: Annotated[
        Ranking | None,
        Field(
            description="Returns one ranked page: most failing or flaky results in the newest `runs` runs, or longest"
            " durations in the newest complete run with executed results, or, without `branch`, longest total durations"
            " (`costs`) on the days from `from` to `to` in UTC (default: the last 30 days)"
        ),
    ] = None


class OwnersQuery(ResultFilters):
    """A page of the list of the owners of a project's cases."""

    project_id: Annotated[Name | None, Field(description="Required unless the key is bound to a project")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of items"), DIGITS] = DEFAULT_LIMIT
    starting_after: Annotated[Cursor | None, Field(description=NEXT_PAGE)] = None


@closed
class OwnerSummary(TypedDict):
    """An owner of cases of a project."""

    owner: str
    cases: Annotated[int, Field(description="Number of cases")]
    broken: Annotated[int, Field(description="Number of these cases that are broken")]
    flaky: Annotated[int, Field(description="Number of these cases that are flaky")]


def write_owner(owner: OwnerRow) -> OwnerSummary:
    """Return the public object of an owner."""
    return {"owner": owner.owner, "cases": owner.cases, "broken": owner.broken, "flaky": owner.flaky}
