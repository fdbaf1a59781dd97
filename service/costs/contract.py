"""The public costs: their query and schema, and the function that writes a group."""

from datetime import date
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.cases.contract import CaseIdentity, write_identity
from service.contracts.queries import DEFAULT_LIMIT, DIGITS, Name, Query, with_parameters
from service.contracts.responses import Day, PagePosition, closed
from service.costs.model import CostGroup, CostsOfGroup
from service.domain.filter_types import TimeType
from service.domain.filters import FilterParameter
from service.domain.timestamps import parse_timestamp

_DAYS = (
    FilterParameter("from", TimeType(), "First day in UTC, or a time on it (default: 29 days before `to`)", ()),
    FilterParameter("to", TimeType(), "Last day in UTC, or a time on it (default: today)", (), at_least="from"),
)


@with_parameters(_DAYS)
class CostsQuery(Query):
    """Costs of the groups of a project, or of projects."""

    project_id: Annotated[
        Name | None, Field(description="Required unless `group_by` is `project` or the key is bound to a project")
    ] = None
    group_by: Annotated[
        CostGroup, Field(description="A case with several owners counts for each of them; `job`: name of the CI job")
    ] = "case"
    owner: Annotated[Name | None, Field(description="Only cases of this owner; not with projects and jobs")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of items"), DIGITS] = DEFAULT_LIMIT

    @property
    def days(self) -> tuple[date | None, date | None]:
        """The first and the last day, if they are given."""
        given = self.given()
        return _day_of(given.get("from")), _day_of(given.get("to"))


def _day_of(value: str | None) -> date | None:
    return None if value is None else parse_timestamp(value).date()


@closed
class GroupCosts(TypedDict):
    """The costs of one group. The sums of owners aren't disjoint, because a case can have several."""

    group: Annotated[str, Field(description="ID of the case, or name of the group; empty for no suite, owner, or job")]
    case: Annotated[CaseIdentity | None, Field(description="Only with `group_by=case`")]
    results: Annotated[int, Field(description="Of jobs: results that the job decides")]
    attempts: Annotated[
        int, Field(description="Executions by all parts and attempts of jobs; a skipped result has none")
    ]
    unknown_durations: Annotated[int, Field(description="Executions without a duration, which count as 0 ms")]
    duration_ms: Annotated[int, Field(description="Of all executions")]
    retry_duration_ms: Annotated[int, Field(description="Of failing executions that were repeated in their run")]
    p95_duration_ms: Annotated[
        int | None, Field(description="95th percentile of the sum of the durations of the results of one run")
    ]
    p95_runs: Annotated[
        int,
        Field(description="Number of these runs: the newest 200 at most, and except for cases, 20,000 results at most"),
    ]


_CostDays = TypedDict(
    "_CostDays",
    {
        "from": Annotated[Day, Field(description="Earlier than requested if the range begins in a merged month")],
        "to": Annotated[Day, Field(description="Later than requested if the range ends in a merged month")],
    },
)


@closed
class Costs(PagePosition, _CostDays):
    """The groups with the longest durations. The list always has one page."""

    data: list[GroupCosts]
    runs: Annotated[int, Field(description="Trusted runs that the sums cover")]
    truncated: Annotated[
        bool,
        Field(
            description="Days that aren't rolled up yet, usually only today, have more than 20,000 results: the sums"
            " and `runs` lack their older runs"
        ),
    ]


def write_group(group: CostsOfGroup) -> GroupCosts:
    """Return the public object of a group."""
    case, sums = group.case, group.sums
    return {
        "group": group.name,
        "case": case and write_identity(case.case_key, case, case.variant),
        "results": sums.results,
        "attempts": sums.attempts,
        "unknown_durations": sums.unknown_durations,
        "duration_ms": sums.duration_ms,
        "retry_duration_ms": sums.retry_ms,
        "p95_duration_ms": group.p95_ms,
        "p95_runs": group.p95_runs,
    }
