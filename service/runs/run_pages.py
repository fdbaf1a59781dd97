"""One run: its decisions and comparison, all of its changes, all of its results, and the promotion of its reports."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Final, NamedTuple

from aiohttp import web

from service.artifacts.operations import list_run_artifacts
from service.artifacts.pages import read_artifacts_query, trace_command
from service.comparison.contract import ComparisonQuery, write_missing_part
from service.comparison.model import NOTHING_MISSING
from service.comparison.operations import list_comparison
from service.comparison.pages import (
    describe_missing_parts,
    explain_results,
    group_first_results,
    group_results,
)
from service.console.filters import read_filters, read_page_query
from service.console.forms import Unchanged, apply_change, get_form, parse_form
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, page_url, render
from service.contracts.queries import ResultQuery
from service.database.pages import ListPage
from service.domain.statuses import FAILING
from service.gates.model import describe_rule
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.identity.keys.model import roles_with
from service.ingest import promote_run as promotion
from service.mutations.operations import Transaction
from service.quarantines.operations import find_excuses
from service.receipts.contract import Receipt, write_receipt
from service.receipts.model import describe_missing
from service.results.operations import list_results
from service.results.rows import ResultRow
from service.runs.contract import PromotionRequest
from service.runs.model import (
    PartIdentity,
    PartRow,
    RunDetailRow,
    RunRow,
    describe_expected,
    find_missing_shards,
    is_untrusted_id,
)
from service.runs.operations import find_run, run_not_found
from service.runs.overview import (
    CHANGED_RESULTS,
    RunOverview,
    RunReceipts,
    find_overview,
    find_receipts_of_run,
    is_sortable,
)
from service.states.read_states import find_states

_CHANGES: Final = "50"
_RESULTS: Final = "100"
_ARTIFACTS: Final = 50
_NO_RESULTS: Final = ListPage[ResultRow]((), None)
_LISTED_PARTS: Final = 50
_READERS: Final = " or ".join(roles_with("reports:create"))
_REJECTED: Final = f"a report was rejected. Users with the role {_READERS} can read why."


async def show_run(request: web.Request) -> web.Response:
    """Show a run: its decisions and its comparison first. A run that isn't stored shows its reports."""
    resources, caller, run_id = request.app[RESOURCES], get_caller(request), request.match_info["run_id"]
    artifacts_query = read_artifacts_query(request, _ARTIFACTS)
    found = await find_run(resources.pool, caller, run_id)
    if found is None:
        return await _show_reports(request, run_id)
    overview = await find_overview(resources.pool, caller, found.run)
    artifacts = await list_run_artifacts(resources.pool, caller, run_id, artifacts_query, resources.settings.link_base)
    context = {
        **_describe_run(found, overview),
        "artifacts": artifacts.items,
        "next_artifacts": artifacts.next_cursor,
        "trace_command": trace_command,
        "describe_rule": describe_rule,
    }
    return render(request, "run.html", context)


def _describe_run(found: RunDetailRow, overview: RunOverview) -> dict[str, object]:
    """Return what the page shows about a run and its results."""
    run, changes = found.run, overview.changes
    reports = _describe_reports(overview.receipts)
    found_missing = changes.summary.missing if changes else NOTHING_MISSING
    missing = found_missing.parts
    lacks_results = bool(missing or found_missing.items) or run.failures_missing or bool(reports and reports.missing)
    return {
        "run": run,
        "state": _find_state(run, lacks_results=lacks_results, is_processing=bool(reports and reports.is_processing)),
        "expected": None if run.complete else _describe_incomplete(run, overview.arrived_shards),
        "parts": _list_parts(found, missing, overview.arrived_shards),
        "decisions": overview.decisions,
        "job_excuses": overview.job_excuses,
        "gates": overview.gates,
        "changes": group_first_results(changes, overview.excuses, found, CHANGED_RESULTS) if changes else None,
        "splits": found_missing.splits,
        "case_states": overview.case_states,
        "failure_groups": overview.failure_groups,
        "flaky": overview.flaky,
        "slowest": overview.slowest,
        "reports": reports,
    }


async def _show_reports(request: web.Request, run_id: str) -> web.Response:
    """Show what happened to the reports of a run that isn't stored. Raises NotFound if there are none."""
    receipts = await find_receipts_of_run(request.app[RESOURCES].pool, get_caller(request), run_id)
    reports = _describe_reports(receipts)
    if reports is None:
        raise run_not_found(run_id)
    return render(request, "run_missing.html", {"run_id": run_id, "reports": reports}, 404)


async def show_changes(request: web.Request) -> web.Response:
    """Show a page of the comparison of a run. It has the parameters of the API."""
    caller, pool = get_caller(request), request.app[RESOURCES].pool
    query = read_page_query(request.query, ComparisonQuery, _CHANGES)
    compared = await list_comparison(pool, caller, request.match_info["run_id"], query)
    results = explain_results(compared, await find_excuses(pool, caller, compared.items))
    found = await _find_run(request)
    missing = compared.summary.missing
    lacks_results = bool(missing.parts or missing.items) or found.run.failures_missing
    context = {
        "run": found.run,
        "state": _find_state(found.run, lacks_results=lacks_results),
        "missing": describe_missing_parts(compared.summary, found.parts),
        "case_states": await find_states(pool, caller, [row.result.case_key for row in compared.items]),
        "groups": group_results(results, compared.summary, is_complete=found.run.complete),
        "comparison": compared.summary,
        "selected": query.change,
        **page_links(request, compared.next_cursor),
    }
    return render(request, "run_changes.html", context)


async def show_results(request: web.Request) -> web.Response:
    """Show a page of the results of a run with the filters of the API, sorted by suite if the run isn't too large."""
    caller, run_id, pool = get_caller(request), request.match_info["run_id"], request.app[RESOURCES].pool
    run = (await _find_run(request)).run
    can_sort, state = is_sortable(run), _find_state(run, lacks_results=run.failures_missing)
    defaults = {"limit": _RESULTS, "run_id": run_id} | ({"sort": "suite"} if can_sort else {})
    query, form = read_filters(request, ResultQuery, "results", **defaults)
    listed = _NO_RESULTS
    if query is not None:
        listed = await list_results(pool, caller, replace(query.to_filter(), run_id=run_id, trusted="any"), query)
    context = {
        "run": run,
        "state": state,
        "results": listed.items,
        "case_states": await find_states(pool, caller, [row.case_key for row in listed.items if row.status in FAILING]),
        "filters": form,
        "can_sort": can_sort,
        **page_links(request, listed.next_cursor),
    }
    return render(request, "run_results.html", context, 400 if form.error else 200)


async def promote_run(request: web.Request) -> web.Response:
    """Promote the selected reports, and the reports whose receipts were pasted, and return to the page of the run."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    fields = get_form(request)
    receipts = [receipt for value in fields.popall("receipts", ()) for receipt in value.split()]
    fields.extend(("receipts", receipt) for receipt in dict.fromkeys(receipts))
    stated = promotion.Promotion(**parse_form(fields, PromotionRequest).model_dump())
    link_base = request.app[RESOURCES].settings.link_base

    async def change(transaction: Transaction) -> str | Unchanged:
        path = page_url(request.app, "run", run_id=run_id)
        changed = await promotion.promote_run(transaction, caller.org_id, run_id, caller.project_id, stated, link_base)
        return path if changed else Unchanged(path)

    return await apply_change(request, caller, change)


async def _find_run(request: web.Request) -> RunDetailRow:
    """Return the run of the path with its parts. Raises NotFound."""
    run_id = request.match_info["run_id"]
    found = await find_run(request.app[RESOURCES].pool, get_caller(request), run_id)
    if found is None:
        raise run_not_found(run_id)
    return found


class ReceivedReports(NamedTuple):
    """The receipts of a run, newest first, and which rejected reports are missing.

    `receipts` is None if the caller can't read them.
    """

    receipts: Sequence[Receipt] | None
    missing: str | None
    has_more: bool
    is_processing: bool


class ListedPart(NamedTuple):
    """A part of a run, such as a CI job. `attempt` is None if none is stated. A missing part sent no results."""

    part: PartRow
    is_missing: bool


class RunParts(NamedTuple):
    """The parts of a run, the missing ones first. `more` is the number of parts that aren't listed."""

    listed: Sequence[ListedPart]
    more: int


def _find_state(run: RunRow, *, lacks_results: bool, is_processing: bool = False) -> str | None:
    """Return the state of a run whose status doesn't state the outcome of all of its results, or None."""
    if not run.complete:
        return "incomplete"
    if lacks_results:
        return "results_missing"
    return "reports_processing" if is_processing else None


def _list_parts(
    found: RunDetailRow, missing: Sequence[PartIdentity], arrived_shards: Collection[int]
) -> RunParts | None:
    """Return the parts of a run. A missing shard, which can be of any job, is listed unless a missing part has it."""
    absent = [PartRow(**write_missing_part(part), attempt=None) for part in missing]
    others = [part for part in found.parts if not any(_is_same(part, other) for other in absent)]
    known = {part.shard for part in absent if part.shard}
    expected = None if found.run.complete else found.run.expected_shards
    shards = find_missing_shards(expected, {*arrived_shards, *known}) if expected else []
    numbers = islice(chain.from_iterable(shards), _LISTED_PARTS)
    absent += [PartRow(part=None, variant={}, shard=number, attempt=None) for number in numbers]
    parts = [ListedPart(part, True) for part in absent] + [ListedPart(part, False) for part in others]
    if not any(part.part.part or part.part.variant or part.part.shard for part in parts):
        return None
    total = len(missing) + sum(map(len, shards)) + len(others)
    return RunParts(parts[:_LISTED_PARTS], max(0, total - _LISTED_PARTS))


def _is_same(first: PartRow, second: PartRow) -> bool:
    return first[:3] == second[:3]


def _describe_reports(found: RunReceipts | None) -> ReceivedReports | None:
    """Return the receipts of a run, or None if there are none."""
    if found is None:
        return None
    if found.listed is None:
        return ReceivedReports(None, _REJECTED if found.is_rejected else None, False, found.is_processing)
    receipts = list(map(write_receipt, found.listed.items))
    has_more = found.listed.next_cursor is not None
    return ReceivedReports(receipts, describe_missing(receipts), has_more, found.is_processing)


def _describe_incomplete(run: RunRow, arrived_shards: Collection[int]) -> str:
    if run.trusted and is_untrusted_id(run.run_id) and run.status == "error":
        return "Reports that its promotion names aren't stored, or further ones are expected."
    expected = describe_expected(run.expected_shards, arrived_shards, run.expected_results, run.counts.total)
    return f"{expected}." if expected else "The last event of the run hasn't arrived."


ROUTES: Final = (
    ConsoleRoute("run", "/console/runs/{run_id}", page("results:read", show_run)),
    ConsoleRoute("run_changes", "/console/runs/{run_id}/changes", page("results:read", show_changes)),
    ConsoleRoute("run_results", "/console/runs/{run_id}/results", page("results:read", show_results)),
    ConsoleRoute("promote", "/console/runs/{run_id}/promotion", post=page("runs:promote", promote_run)),
)
