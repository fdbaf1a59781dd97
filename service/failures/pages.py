"""One failure group: its message, its cases, and the form that sets its ticket."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from aiohttp import web
from multidict import MultiDict
from pydantic import BeforeValidator

from service.console.charts import CountBar, count_bars
from service.console.formats import format_day, format_plural
from service.console.forms import FormState, apply_change, get_form, parse_form, state_of, submit
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_url, render
from service.contracts.queries import PageQuery, Query
from service.domain.errors import Gone, NotFound
from service.domain.filters import ResultFilter
from service.domain.ids import Fingerprint
from service.failures.model import FailureGroupDetailRow
from service.failures.operations import find_failure, set_ticket
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.mutations.operations import Transaction
from service.quarantines.contract import TicketUrl
from service.results.operations import find_result, list_results
from service.results.rows import FailureRow, ResultRow
from service.stats.model import LENGTHS_MS, bucket_start

_MAX_RESULTS: Final = 1_000  # that are read
_LISTED_CASES: Final = 50
_MAX_DAYS: Final = 30
_DAY_MS: Final = LENGTHS_MS["day"]
_TICKET: Final = "ticket_url"


async def show_failure(request: web.Request) -> web.Response:
    """Show a failure group and its cases."""
    parse_query(request, Query)
    found = await _find(request)
    return await _show(request, found, FormState({_TICKET: found.group.ticket_url or ""}))


async def set_failure_ticket(request: web.Request) -> web.Response:
    """Set or remove the ticket, and return to the page with the form. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, _set_ticket(request, form))
    if isinstance(outcome, web.Response):
        return outcome
    return await _show(request, await _find(request), state_of(form, {_TICKET: ""}, outcome))


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


async def _find(request: web.Request) -> FailureGroupDetailRow:
    """Return the failure group of the path. Raises NotFound."""
    return await find_failure(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])


async def _show(request: web.Request, found: FailureGroupDetailRow, form: FormState) -> web.Response:
    resources, caller, group = request.app[RESOURCES], get_caller(request), found.group
    results, has_more = await _read_results(resources, caller, group.fingerprint)
    cases = _group_cases(results)
    context = {
        "found": found,
        "group": group,
        "cases": cases[:_LISTED_CASES],
        "more_cases": len(cases[_LISTED_CASES:]),
        "trend": count_days([result.completed_ms for result in results], group.last_seen_ms),
        "example": await _find_example(resources, caller, group.example_result_id),
        "is_partial": found.truncated or has_more,
        "form": form,
    }
    return render(request, "failure.html", context, form.status)


async def _read_results(
    resources: Resources, caller: Caller, fingerprint: Fingerprint
) -> tuple[Sequence[ResultRow], bool]:
    """Return the newest results of a failure group, and whether it has more."""
    filter_ = ResultFilter(fingerprint=fingerprint)
    results: list[ResultRow] = []
    cursor = None
    while len(results) < _MAX_RESULTS:
        query = PageQuery(limit=_MAX_RESULTS, starting_after=cursor)
        listed = await list_results(resources.list_pool, caller, filter_, query)
        results += listed.items
        cursor = listed.next_cursor
        if cursor is None:
            break
    return results[:_MAX_RESULTS], cursor is not None


def _group_cases(results: Sequence[ResultRow]) -> list[CaseOfGroup]:
    """Return the cases of results, which are newest first. The cases with most results are first."""
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


async def _find_example(resources: Resources, caller: Caller, result_id: str) -> FailureRow | None:
    """Return the newest failure in full, or None if it was deleted."""
    try:
        return (await find_result(resources.pool, caller, result_id)).failure
    except (NotFound, Gone):
        return None


def _none_if_blank(text: str) -> str | None:
    return text.strip() or None


class TicketForm(Query):
    """The ticket; blank removes it. `health` returns to the health page, with the branch that it showed."""

    ticket_url: Annotated[TicketUrl | None, BeforeValidator(_none_if_blank)]
    health: bool = False
    branch: str = ""


async def _set_ticket(request: web.Request, fields: MultiDict[str]) -> web.Response:
    caller, failure_id, form = get_caller(request), request.match_info["id"], parse_form(fields, TicketForm)

    async def change(transaction: Transaction) -> str:
        project_id = await set_ticket(transaction, caller, failure_id, form.ticket_url)
        if form.health:
            return page_url(request.app, "health", {"project_id": project_id, "branch": form.branch}) + "#failures"
        return page_url(request.app, "failure", id=failure_id)

    return await apply_change(request, caller, change)


ROUTES: Final = (
    ConsoleRoute(
        "failure",
        "/console/failures/{id}",
        page("results:read", show_failure),
        page("quarantines:manage", set_failure_ticket),
    ),
)
