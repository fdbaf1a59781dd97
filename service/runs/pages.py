"""The list of runs: newest first, with their decisions, and the runs of a pull request on a page below each other."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from service.console.changes import Unchanged, apply_change
from service.console.filters import FilterForm, read_filters
from service.console.forms import get_form
from service.console.rendering import CURSOR, page_links, page_url, render
from service.contracts.queries import RunQuery
from service.database.pages import ListPage
from service.domain.ids import RunKey
from service.domain.statuses import FAILING
from service.gates.model import DecisionSummary
from service.http.authentication import get_caller
from service.http.parsing import parse_pairs
from service.http.process import RESOURCES
from service.ingest.promotion import Promotion
from service.ingest.promotion import promote_run as promote
from service.mutations.operations import Transaction
from service.runs.contract import PromotionRequest
from service.runs.model import RunRow
from service.runs.operations import list_runs, suggest_filters
from service.runs.overview import find_run_decisions
from service.stats.contract import StatsQuery
from service.stats.operations import Statistics, find_stats
from service.stats.pages import find_projects


class ListedRun(NamedTuple):
    """A run with the decision about its revision, or without one."""

    run: RunRow
    decision: DecisionSummary | None

    @property
    def is_compared(self) -> bool:
        """Whether the decision states which failures are new. Without a baseline, it counts all of them as new."""
        return self.decision is not None and self.decision.has_baseline

    @property
    def lacks_results(self) -> bool:
        """Whether results are missing, so that a passed run isn't shown as passed."""
        return self.run.failures_missing or bool(self.decision and self.decision.missing_parts)

    @property
    def has_only_known_failures(self) -> bool:
        """Whether the run failed, but a comparison found neither a new failure nor a missing part: it's no news."""
        decision = self.decision
        if decision is None or not decision.has_baseline or not self.run.complete or self.lacks_results:
            return False
        return self.run.status in FAILING and decision.failures.new == 0 and decision.missing_parts == 0


class RunGroup(NamedTuple):
    """The runs of one pull request on a page, or one other run; newest first."""

    runs: list[ListedRun]

    @property
    def newest(self) -> ListedRun:
        """The newest run."""
        return self.runs[0]

    @property
    def title(self) -> str | None:
        """The newest known title of the pull request."""
        return next((item.run.title for item in self.runs if item.run.title is not None), None)

    @property
    def author(self) -> str | None:
        """The newest known author of the pull request."""
        return next((item.run.author for item in self.runs if item.run.author is not None), None)

    @property
    def newest_of_projects(self) -> list[ListedRun]:
        """The newest run of each project. A pull request of a monorepo has runs of several projects."""
        newest: dict[str, ListedRun] = {}
        for item in self.runs:
            newest.setdefault(item.run.project_id, item)
        return list(newest.values())


def group_runs(runs: Sequence[RunRow], decisions: Mapping[RunKey, DecisionSummary]) -> list[RunGroup]:
    """Return the runs of a page, in which those of one pull request are below the newest of them.

    Only the runs of this page are grouped, so no run is hidden or repeated: earlier runs of a pull request can be on
    the next pages, below the newest of them there. Pull requests with the same number in different repositories differ.
    The project distinguishes them if the repository is unknown.
    """
    groups: dict[tuple[str, ...], RunGroup] = {}
    for run in runs:
        groups.setdefault(_group_key(run), RunGroup([])).runs.append(ListedRun(run, decisions.get(run.run_key)))
    return list(groups.values())


def _group_key(run: RunRow) -> tuple[str, ...]:
    if run.pull_request is None:
        return (run.run_id,)
    repository = ("repository", run.repository_url) if run.repository_url else ("project", run.project_id)
    return (*repository, run.pull_request)


_ROWS: Final = "50"
_NO_RUNS: Final = ListPage[RunRow]((), None)
_FILTERS_OF_STATS: Final = frozenset({"project_id", "status", "flaky"})


async def show_runs(request: web.Request) -> web.Response:
    """Show a page of runs, newest first, with the filters of the API. A wrong filter is shown in the form."""
    query, form = read_filters(request, RunQuery, "runs", limit=_ROWS)
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    page = await list_runs(pool, caller, query) if query else _NO_RUNS
    suggested = await suggest_filters(pool, caller, query.to_filter().project_id if query else None)
    context = {
        "groups": group_runs(page.items, await find_run_decisions(pool, caller, page.items)),
        "filters": form,
        "projects": await find_projects(request.app[RESOURCES], caller),
        "authors": [(author, author) for author in suggested.authors],
        "pull_requests": suggested.pull_requests,
        "stats": await _find_stats(request, form),
        **page_links(request.rel_url, page.next_cursor)._asdict(),
    }
    return render(request, "runs.html", context, 400 if form.error else 200)


async def _find_stats(request: web.Request, form: FilterForm) -> Statistics | None:
    """Return the statistics per day of the newest runs, or None if the page shows other runs.

    Statistics have no filter except the project. The status of runs is irrelevant for a pass rate.
    """
    shows_others = any(value for name, value in form.values.items() if name not in _FILTERS_OF_STATS)
    if form.error or shows_others or CURSOR in request.query:
        return None
    query = StatsQuery.model_validate({"project_id": form.values["project_id"] or None})
    return await find_stats(request.app[RESOURCES].list_pool, get_caller(request), query)


async def promote_run(request: web.Request) -> web.Response:
    """Promote the selected reports, and those whose receipts were pasted, and return to the page of the run."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    fields = get_form(request)
    receipts = [receipt for value in fields.popall("receipts", ()) for receipt in value.split()]
    fields.extend(("receipts", receipt) for receipt in dict.fromkeys(receipts))
    form = parse_pairs(fields, PromotionRequest, "field")
    stated = Promotion(**form.model_dump())
    link_base = request.app[RESOURCES].settings.link_base

    async def change(transaction: Transaction) -> str | Unchanged:
        page = page_url(request.app, "run", run_id=run_id)
        changed = await promote(transaction, caller.org_id, run_id, caller.project_id, stated, link_base)
        return page if changed else Unchanged(page)

    return await apply_change(request, caller, change)
