"""The data of the page of a failure group: its cases, the number of its results per day, and its newest failure."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from service.api.resources import Resources
from service.console.charts import CountBar, count_bars
from service.console.formats import format_day, format_plural
from service.contracts.queries import PageQuery
from service.domain.errors import Gone, NotFound
from service.domain.filters import ResultFilter
from service.domain.keys import Caller
from service.domain.rows import FailureGroupDetailRow, FailureRow, ResultRow
from service.domain.stats import LENGTHS_MS, bucket_start
from service.usecases.lists.list_failures import find_failure
from service.usecases.lists.list_results import find_result, list_results

_MAX_RESULTS: Final = 1_000  # that are read
_LISTED_CASES: Final = 50
_MAX_DAYS: Final = 30
_DAY_MS: Final = LENGTHS_MS["day"]


class CaseOfGroup(NamedTuple):
    """A case of a failure group with the number of its results and of their runs."""

    newest: ResultRow
    results: int
    runs: int


class DayTrend(NamedTuple):
    """The number of results per day, oldest first, and the same in words."""

    bars: Sequence[CountBar]
    titles: Sequence[str]
    summary: str


class FailurePageData(NamedTuple):
    """The data of the page. `is_partial` states that the group has more results than were read.

    `more_cases` is the number of cases that aren't listed. `trend` is None if all results are of one day. `example` is
    the newest failure in full, or None if it was deleted.
    """

    found: FailureGroupDetailRow
    cases: Sequence[CaseOfGroup]
    more_cases: int
    trend: DayTrend | None
    example: FailureRow | None
    is_partial: bool


async def find_failure_page(resources: Resources, caller: Caller, failure_id: str) -> FailurePageData:
    """Return the data of the page. Raises NotFound."""
    found = await find_failure(resources.pool, caller, failure_id)
    results, is_partial = await _read_results(resources, caller, found)
    cases = group_cases(results)
    return FailurePageData(
        found,
        cases[:_LISTED_CASES],
        len(cases[_LISTED_CASES:]),
        count_days([result.completed_ms for result in results], found.group.last_seen_ms),
        await _find_example(resources, caller, found),
        is_partial,
    )


def group_cases(results: Sequence[ResultRow]) -> list[CaseOfGroup]:
    """Return the cases of results, newest first: those with most results first."""
    by_case: dict[int, list[ResultRow]] = {}
    for result in results:
        by_case.setdefault(result.case_key, []).append(result)
    cases = [CaseOfGroup(rows[0], len(rows), len({row.run_id for row in rows})) for rows in by_case.values()]
    return sorted(cases, key=lambda case: -case.results)


def count_days(times_ms: Sequence[int], last_ms: int) -> DayTrend | None:
    """Return the number of results per day from the first to the last one, at most 30 days, or None for one day."""
    counts = Counter(bucket_start(time_ms, "day") for time_ms in times_ms)
    last = bucket_start(last_ms, "day")
    days = min(_MAX_DAYS, (last - min(counts, default=last)) // _DAY_MS + 1)
    if days == 1:
        return None
    starts = [last - back * _DAY_MS for back in reversed(range(days))]
    values = [counts[start] for start in starts]
    titles = [
        f"{format_day(start)}: {format_plural(value, 'result')}" for start, value in zip(starts, values, strict=True)
    ]
    summary = f"{format_day(starts[0])} to {format_day(last)}, at most {format_plural(max(values), 'result')} per day"
    return DayTrend(count_bars(values), titles, summary)


async def _read_results(
    resources: Resources, caller: Caller, found: FailureGroupDetailRow
) -> tuple[Sequence[ResultRow], bool]:
    """Return the newest results of the group, and whether it has more."""
    filter_ = ResultFilter(fingerprint=found.group.fingerprint)
    results: list[ResultRow] = []
    cursor = None
    while len(results) < _MAX_RESULTS:
        page = await list_results(
            resources.list_pool, caller, filter_, PageQuery(limit=_MAX_RESULTS, starting_after=cursor)
        )
        results += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return results[:_MAX_RESULTS], found.truncated or cursor is not None


async def _find_example(resources: Resources, caller: Caller, found: FailureGroupDetailRow) -> FailureRow | None:
    try:
        return (await find_result(resources.pool, caller, found.group.example_result_id)).failure
    except (NotFound, Gone):
        return None
