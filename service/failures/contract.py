"""The public failure group: its query, request, and schema, and the functions that write it."""

from typing import Annotated

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import DEFAULT_LIMIT, DIGITS, Query, ResultFilters, with_filters
from service.contracts.responses import PagePosition, Time, closed
from service.domain.timestamps import format_known_ms, format_ms
from service.failures.model import FailureGroupDetailRow, FailureGroupRow, GroupStateValue
from service.quarantines.contract import TicketUrl


@with_filters("failures")
class FailureQuery(ResultFilters):
    """The ranked list of failure groups. `run_id` or a project is required."""

    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of items"), DIGITS] = DEFAULT_LIMIT


class FailurePatch(Query):
    """The ticket of a failure group. It also applies to later failures of the group."""

    ticket_url: Annotated[TicketUrl | None, Field(description="Null removes the ticket")]


@closed
class FailureGroup(TypedDict):
    """The failing results of a project whose last attempts failed in the same way.

    Their failures have the same type and differ only in values of the message such as numbers, IDs, times, temporary
    paths, and hosts. If little other text remains, results of different suites are different groups.
    """

    id: Annotated[str, StringConstraints(pattern=r"^fp1_[0-9a-f]{16}$")]
    project_id: str
    type: str | None
    message: Annotated[str | None, Field(description="First informative line of the newest failure")]
    results: Annotated[int, Field(description="Failing results in the range")]
    cases: Annotated[int, Field(description="Cases with these results")]
    runs: Annotated[int, Field(description="Runs with these results")]
    first_seen: Annotated[Time, Field(description="Completion of the oldest stored run with such a failure")]
    last_seen: Annotated[Time, Field(description="Completion of the newest stored run with such a failure")]
    example_result_id: Annotated[str, Field(description="The newest of these results")]
    ticket_url: str | None
    owners: Annotated[list[str], Field(description="The first 10 owners of these cases, in alphabetical order")]


@closed
class FailureGroupDetail(FailureGroup):
    """One failure group, counted over all stored results."""

    truncated: Annotated[
        bool,
        Field(description="More than 5,000 results, or results in more than 1,000 minutes. Only the newest ones count"),
    ]
    state: Annotated[GroupStateValue | None, Field(description="On the default branch. Null: it hasn't failed there")]
    opened_at: Annotated[
        Time | None, Field(description="Completion of the first run that failed since it was resolved")
    ]
    resolved_at: Annotated[Time | None, Field(description="Completion of the run that resolved it")]


@closed
class RankedFailureGroups(PagePosition):
    """Failure groups, most results first."""

    data: list[FailureGroup]
    truncated: Annotated[
        bool,
        Field(
            description="The range has more than 2,000 runs, or more than 5,000 failing results (20,000 of one run)."
            " Only the newest ones count"
        ),
    ]


def write_failure_group(group: FailureGroupRow) -> FailureGroup:
    """Return the public object of a failure group."""
    return {
        "id": group.id,
        "project_id": group.project_id,
        "type": group.type,
        "message": group.message,
        "results": group.results,
        "cases": group.cases,
        "runs": group.runs,
        "first_seen": format_ms(group.first_seen_ms),
        "last_seen": format_ms(group.last_seen_ms),
        "example_result_id": group.example_result_id,
        "ticket_url": group.ticket_url,
        "owners": list(group.owners),
    }


def write_failure_group_detail(detail: FailureGroupDetailRow) -> FailureGroupDetail:
    """Return the public object of one failure group."""
    return {
        **write_failure_group(detail.group),
        "truncated": detail.truncated,
        "state": detail.state,
        "opened_at": format_known_ms(detail.opened_ms),
        "resolved_at": format_known_ms(detail.resolved_ms),
    }
