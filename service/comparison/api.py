"""Handlers for the comparison of a run, and for the backtest of the rules."""

from typing import Final

from aiohttp import web

from service.comparison.backtest import replay_runs
from service.comparison.contract import (
    Backtest,
    BacktestQuery,
    ComparisonQuery,
    PastStatesList,
    RunComparison,
    write_comparison,
    write_comparison_item,
)
from service.comparison.operations import list_comparison, list_splits
from service.comparison.replay_states import replay_states
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_list
from service.http.routes import Operation, Route
from service.splits.contract import SplitsOfRun


async def compare_run(request: web.Request) -> web.Response:
    """Compare a run with its baseline, and return a page of the changes."""
    query, caller = parse_query(request, ComparisonQuery), get_caller(request)
    page = await list_comparison(request.app[RESOURCES].pool, caller, request.match_info["run_id"], query)
    items = list(map(write_comparison_item, page.items))
    return reply_list(items, page.next_cursor, **write_comparison(page.summary))


async def list_splits_of_run(request: web.Request) -> web.Response:
    """List the splits of a run, with the items that no job executed."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    splits = await list_splits(request.app[RESOURCES].pool, caller, run_id)
    return reply({"data": splits})


async def backtest_project(request: web.Request) -> web.Response:
    """Judge the failures of stored runs of pull requests by two versions of the rules, and return a page of runs."""
    query, caller = parse_query(request, BacktestQuery), get_caller(request)
    page = await replay_runs(request.app[RESOURCES].list_pool, caller, request.match_info["project_id"], query)
    return reply_list(list(page.runs), page.next_cursor, progress=page.progress)


async def list_past_states(request: web.Request) -> web.Response:
    """Return a page of the states after the runs of the default branch of a project."""
    query, caller = parse_query(request, BacktestQuery), get_caller(request)
    page = await replay_states(request.app[RESOURCES].list_pool, caller, request.match_info["project_id"], query)
    return reply_list(list(page.runs), page.next_cursor, executed=page.executed, progress=page.progress)


ROUTES: Final = (
    Route("GET", "/runs/{run_id}/comparison", compare_run, "results:read", Operation(
        "compare_run", "Compare a run with earlier runs: new, known, and fixed failures", {200: RunComparison},
        ComparisonQuery, errors=("not_found", "gone"),
        description="The window contains the newest 100 earlier runs of the base branch that are complete, aren't"
        " canceled, have executed results, and have the same environment. The baseline is one of the newest"
        " runs of the window. A cursor is invalid after a change of the run, a run of the window, or a quarantine.",
    )),
    Route("GET", "/runs/{run_id}/splits", list_splits_of_run, "results:read", Operation(
        "list_splits_of_run", "List the splits of a run, with the items that no job executed", {200: SplitsOfRun},
        errors=("not_found", "gone", "conflict"),
        description="The splits are those of the pipeline or ID of the run, and those that its uploads state.",
    )),
    Route("GET", "/projects/{project_id}/backtest", backtest_project, "results:read", Operation(
        "backtest_project", "Judge stored failures of pull requests by the rules of version 0.10 and the current ones",
        {200: Backtest}, BacktestQuery, errors=("not_found",),
    )),
    Route("GET", "/projects/{project_id}/backtest/states", list_past_states, "results:read", Operation(
        "list_past_states", "List the flaky and broken cases after each run of the default branch, for the replay of a"
        " policy of automatic quarantine", {200: PastStatesList}, BacktestQuery, errors=("not_found",),
        description="The runs are those from which the newest states follow, at least 500 per environment if there are"
        " so many. The states after the oldest runs follow from fewer runs.",
    )),
)  # fmt: skip
