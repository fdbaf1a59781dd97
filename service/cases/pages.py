"""Cases: the list of tests with its rankings, and one case with its history and the form that quarantines it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median_low
from typing import Any, Final, NamedTuple

from aiohttp import web
from multidict import MultiDict

from service.cases.contract import CasesQuery
from service.cases.model import CaseRow, RankedCases
from service.cases.operations import (
    MAX_VARIANTS,
    find_case,
    find_newest_results,
    find_other_variants,
    list_cases,
    rank_cases,
)
from service.console.charts import BarChart, ChartColumn, HistoryStrip, duration_chart
from service.console.filters import FilterForm, read_single_filters
from service.console.formats import format_day, format_duration, format_rfc3339
from service.console.forms import FormState, get_form, state_of, submit
from service.console.labels import RESULT_LABELS
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, page_url, render
from service.database.pages import ListPage
from service.domain.code_links import CodeLinks
from service.domain.errors import Gone, InvalidRequest, NotFound
from service.domain.statuses import EXECUTED, FAILING, SEVERITY, STATE_VALUES, ResultStatus, StateValue
from service.http.authentication import get_caller
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.quarantines.operations import find_quarantine_of_case
from service.quarantines.pages import new_values, quarantine_cases
from service.results.operations import find_result
from service.results.pages import find_links, result_strip, shown_status
from service.results.rows import ResultDetailRow, ResultRow
from service.runs.model import RunRow
from service.runs.operations import find_run
from service.stats.pages import find_newest_project, find_projects

_FILTERS: Final = ("q", "project_id", "branch", "owner", "suite", "from", "to", "sort")
_REPEATED: Final = ("variant", "state")
_ROWS: Final = "100"
_MAX_READS: Final = 5  # of 100 cases each
_RUNS: Final = "50"
_RANKED_ROWS: Final = "50"
_RANKED_RUNS: Final = "200"
_VIEWS: Final = (  # text, ranking, and the range, which starts with the first day of this month if there is one
    ("All tests", "", None),
    ("Most failing", "failures", "this month"),
    ("Flakiest", "flaky", "this month"),
    ("Slowest", "duration", None),
    ("Longest in total", "total_duration", None),
)
_RESULTS: Final = 100  # of the page of a case
_LISTED_FAILURES: Final = 10


async def show_tests(request: web.Request) -> web.Response:
    """Show tests of a project, by default the project of the newest run. A wrong filter is shown in the form.

    The variants of a test are in one row, so a page of the list contains complete suites. Only a suite with more than
    500 cases is on several pages, and so can be the variants of one of its tests.
    """
    rows, runs = (_RANKED_ROWS, _RANKED_RUNS) if "sort" in request.query else (_ROWS, _RUNS)
    query, form = read_single_filters(request, CasesQuery, _FILTERS, limit=rows, runs=runs)
    form.values.update({name: request.query.getall(name, []) for name in _REPEATED})
    resources, caller = request.app[RESOURCES], get_caller(request)
    project_id = (query.project_id or await find_newest_project(resources, caller)) if query else None
    found = TestsPage([])
    try:
        found = await _find_tests(request, query, project_id) if query and project_id else found
    except InvalidRequest as error:
        form = form._replace(error=error)
    context = {
        "project_id": project_id,
        "projects": await find_projects(resources, caller),
        "filters": form,
        "limit": rows,
        "page": found,
        "views": _views(request.app, form, project_id),
        **page_links(request, found.next_cursor),
    }
    return render(request, "tests.html", context, 400 if form.error else 200)


async def show_case(request: web.Request) -> web.Response:
    """Show a case: its newest results, rates, durations, failures, variants, and quarantine."""
    return await _show_case(request, FormState(new_values()))


async def quarantine_case(request: web.Request) -> web.Response:
    """Quarantine the case, and show it again. An error is shown in the form."""
    form, case_id = get_form(request), request.match_info["case_id"]
    path = page_url(request.app, "case", case_id=case_id)
    requested = MultiDict([*form.items(), ("case", case_id)])
    outcome = await submit(request, quarantine_cases(request, requested, lambda _: path))
    if isinstance(outcome, web.Response):
        return outcome
    return await _show_case(request, state_of(form, new_values(), outcome))


class FoldedTest(NamedTuple):
    """A test with its cases, in the order of the list. Each statistic is the highest one of its variants."""

    cases: tuple[CaseRow, ...]

    @property
    def first(self) -> CaseRow:
        """The first case of the list, such as the flakiest variant of a ranking."""
        return self.cases[0]

    @property
    def owners(self) -> list[str]:
        """The owners of all variants, in the order of their names."""
        return sorted({owner for case in self.cases for owner in case.owners})

    @property
    def last_status(self) -> ResultStatus | None:
        """The worst of the last statuses of its variants, or None if no variant has a result."""
        known = (case.last_status for case in self.cases if case.last_status)
        return max(known, key=lambda status: SEVERITY[status], default=None)

    @property
    def state(self) -> StateValue:
        """The worst state of its variants."""
        return max((case.state.value for case in self.cases), key=STATE_VALUES.index)

    @property
    def most_failing(self) -> CaseRow:
        """The variant with the highest failure rate."""
        return max(self.cases, key=lambda case: case.failure_rate or 0)

    @property
    def flakiest(self) -> CaseRow:
        """The variant with the highest flaky rate."""
        return max(self.cases, key=lambda case: case.flaky_rate or 0)

    @property
    def slowest(self) -> CaseRow:
        """The variant with the highest mean duration."""
        return max(self.cases, key=lambda case: case.mean_duration_ms or 0)

    @property
    def last_completed_ms(self) -> int | None:
        """The completion time of the last run with any variant."""
        return max((case.last_completed_ms for case in self.cases if case.last_completed_ms), default=None)


class TestsPage(NamedTuple):
    """The tests of a page. `ranked` has the limits and the costs of a ranking."""

    tests: list[FoldedTest]
    next_cursor: str | None = None
    ranked: RankedCases = RankedCases((), truncated=False)


async def _find_tests(request: web.Request, query: CasesQuery, project_id: str) -> TestsPage:
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    of_project = query.model_copy(update={"project_id": project_id})
    if query.sort is not None:
        ranked = await rank_cases(pool, caller, of_project, query.sort)
        return TestsPage(fold_cases(ranked.cases), None, ranked)
    listed = await _list_suites(request, of_project)
    return TestsPage(fold_cases(listed.items), listed.next_cursor)


def fold_cases(cases: Sequence[CaseRow]) -> list[FoldedTest]:
    """Return the tests of cases, each in the position of its first case."""
    tests: dict[tuple[str | None, str, str], list[CaseRow]] = {}
    for case in cases:
        key = (case.case_id, "", "") if case.case_id else (None, case.suite, case.name)
        tests.setdefault(key, []).append(case)
    return [FoldedTest(tuple(variants)) for variants in tests.values()]


async def _list_suites(request: web.Request, query: CasesQuery) -> ListPage[CaseRow]:
    """Return the next cases, which the list groups by suite, up to the end of a suite.

    For example, 100 cases of which the last 10 are a part of a suite become a page of 90 cases.
    """
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    listed: list[CaseRow] = []
    read = ListPage[CaseRow]((), query.starting_after)
    for _ in range(_MAX_READS):
        rest = query.model_copy(update={"starting_after": read.next_cursor})
        read = await list_cases(pool, caller, rest)
        complete = sum(case.suite != read.items[-1].suite for case in read.items)
        if read.next_cursor and complete:
            read = await list_cases(pool, caller, rest.model_copy(update={"limit": complete}))
        listed += read.items
        if read.next_cursor is None or complete:
            break
    return ListPage(listed, read.next_cursor)


def _views(app: web.Application, form: FilterForm, project_id: str | None) -> Mapping[str, dict[str, Any]]:
    """Return the links to the list and to the rankings, by ranking. They keep the filters, but not the dates.

    The longest tests are those of all branches. The current ranking is called the ranking of this month only if it is.
    """
    kept = {**form.values, "project_id": project_id, "to": None}
    month = f"{datetime.now(UTC):%Y-%m}-01"
    other = form.values["sort"] if (form.values["from"], form.values["to"]) != (month, "") else None
    return {
        sort: {
            "text": text,
            "more": None if sort == other else range_,
            "href": page_url(app, "tests", {**of_view, "sort": sort, "from": month if range_ else None}),
        }
        for text, sort, range_ in _VIEWS
        for of_view in ({**kept, "branch": None} if sort == "total_duration" else kept,)
    }


class CaseFailures(NamedTuple):
    """The newest failing and flaky results. `total` also counts the results that aren't listed."""

    items: Sequence[ResultRow]
    total: int


class CaseHistory(NamedTuple):
    """The newest results of a case. `p50_ms` is None if no result was executed with a known duration."""

    strip: HistoryStrip
    durations: BarChart
    columns: tuple[ChartColumn, ...]
    p50_ms: int | None
    failures: CaseFailures


async def _show_case(request: web.Request, form: FormState) -> web.Response:
    resources, caller, case_id = request.app[RESOURCES], get_caller(request), request.match_info["case_id"]
    pool = resources.list_pool
    case = await find_case(pool, caller, case_id, _RESULTS)
    results = await find_newest_results(pool, caller, case_id, _RESULTS)
    # Not of the pool for lists, because a replica can lag.
    quarantine = await find_quarantine_of_case(resources.pool, caller, case.project_id, case.case_key)
    newest, links = await _find_newest(resources, caller, results)
    context = {
        "case": case,
        "newest": newest,
        "links": links,
        "since_run": await _find_since(resources, caller, case),
        "history": _describe_history(request, results, case.p95_duration_ms),
        "variants": await find_other_variants(pool, caller, case, _RESULTS),
        "max_variants": MAX_VARIANTS,
        "quarantine": quarantine,
        "form": form,
    }
    return render(request, "case.html", context, form.status)


async def _find_newest(
    resources: Resources, caller: Caller, results: Sequence[ResultRow]
) -> tuple[ResultDetailRow | None, CodeLinks]:
    """Return the newest result with the links of its run. None if the case has no result anymore."""
    try:
        detail = await find_result(resources.list_pool, caller, results[0].id) if results else None
    except (NotFound, Gone):  # deleted concurrently
        detail = None
    return detail, await find_links(resources, caller, detail.run) if detail else CodeLinks()


async def _find_since(resources: Resources, caller: Caller, case: CaseRow) -> RunRow | None:
    """Return the run in which the state of an unhealthy case began, if it is known and stored."""
    run_id = case.state.since_run_id
    found = await find_run(resources.list_pool, caller, run_id) if run_id else None
    return found.run if found else None


def _describe_history(request: web.Request, results: Sequence[ResultRow], p95_ms: int | None) -> CaseHistory:
    """Return the history of results, newest first."""
    durations = [_duration(result) for result in reversed(results)]
    p50_ms = median_low(known) if (known := [value for value in durations if value is not None]) else None
    failing = [result for result in results if result.status in FAILING or result.flaky]
    return CaseHistory(
        result_strip(request, results),
        duration_chart(durations, lines_ms={"p50": p50_ms, "p95": p95_ms}),
        tuple(map(_column, reversed(results))),
        p50_ms,
        CaseFailures(failing[:_LISTED_FAILURES], len(failing)),
    )


def _column(result: ResultRow) -> ChartColumn:
    status = shown_status(result)
    label = f"{format_day(result.completed_ms)} {format_rfc3339(result.completed_ms)[11:16]}"
    text = f"{format_duration(_duration(result))}, {RESULT_LABELS[status].text.lower()} in {result.run_id}"
    return ChartColumn(label, text, status)


def _duration(result: ResultRow) -> int | None:
    """Return the duration of an executed result, on which the statistics of the API are based."""
    return result.duration_ms if result.status in EXECUTED else None


ROUTES: Final = (
    ConsoleRoute("tests", "/console/tests", page("results:read", show_tests)),
    ConsoleRoute(
        "case",
        "/console/cases/{case_id}",
        page("results:read", show_case),
        page("quarantines:manage", quarantine_case),
    ),
)
