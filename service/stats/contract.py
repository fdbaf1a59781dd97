"""The public statistics about runs: their query and schema, and the function that writes a bucket."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from service.contracts.queries import RunFilters, with_filters
from service.contracts.responses import PagePosition, Rate, Time, closed
from service.domain.timestamps import format_ms
from service.stats.model import Grouping, Interval, StatsBucketRow

_DURATION = Field(description="Null if no run has a duration")


@with_filters("runs", only=("project_id", "from", "to"))
class StatsQuery(RunFilters):
    """Statistics about runs."""

    interval: Annotated[Interval, Field(description="Length of a bucket in UTC; a week starts on Monday")] = "day"
    group_by: Annotated[
        Grouping | None,
        Field(
            description="Property of the runs that separates groups, or `owner` of the cases of a project, with the"
            " interval day or week: `runs` are then those of the project, and durations are null"
        ),
    ] = None


@closed
class StatsBucket(TypedDict):
    """The runs of one group that completed in one interval, including incomplete runs with their results so far."""

    start: Annotated[Time, Field(description="Start of the interval; it can be before `from`")]
    group: Annotated[
        str | None,
        Field(
            description="Branch, environment, or owner; empty for none; null without `group_by`, and for all groups"
            " after the 19 with the most runs"
        ),
    ]
    runs: int
    failed_runs: Annotated[
        int | None, Field(description="Runs with the status failed or error; null with `group_by=owner`")
    ]
    passed: Annotated[int, Field(description="Results that passed; the other counts are of results as well")]
    failed: int
    error: int
    skipped: int
    canceled: int
    flaky: int
    pass_rate: Annotated[
        Rate | None, Field(description="Share of the executed results that passed; null if no result was executed")
    ]
    duration_p50_ms: Annotated[int | None, _DURATION]
    duration_p95_ms: Annotated[int | None, _DURATION]


_ReadRange = TypedDict(
    "_ReadRange",
    {
        "from": Annotated[
            Time,
            Field(
                description="If `truncated`, the completion time of the oldest run that was read; of owners, the first"
                " day"
            ),
        ],
        "to": Time,
    },
)


@closed
class RunStats(PagePosition, _ReadRange):
    """The buckets with runs, in the order of start and group. The list always has one page."""

    data: list[StatsBucket]
    truncated: Annotated[
        bool,
        Field(
            description="The range has more than 20,000 runs; the buckets contain only the newest ones. Of owners:"
            " earlier days are merged into months, or days that aren't rolled up have more than 20,000 results"
        ),
    ]


def write_bucket(bucket: StatsBucketRow) -> StatsBucket:
    """Return the public object of a bucket."""
    return {
        "start": format_ms(bucket.start_ms),
        "group": bucket.group,
        "runs": bucket.runs,
        "failed_runs": bucket.failed_runs,
        "passed": bucket.counts.passed,
        "failed": bucket.counts.failed,
        "error": bucket.counts.error,
        "skipped": bucket.counts.skipped,
        "canceled": bucket.counts.canceled,
        "flaky": bucket.counts.flaky,
        "pass_rate": bucket.pass_rate,
        "duration_p50_ms": bucket.duration_p50_ms,
        "duration_p95_ms": bucket.duration_p95_ms,
    }
