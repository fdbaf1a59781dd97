"""The tools for cases and failure groups: rankings, the history of a case, and one failure group."""

from urllib.parse import quote

from service.client.http import JsonObject, Server
from service.mcp.arguments import (
    CaseHistoryArguments,
    FailureGroupArguments,
    FailureGroupsArguments,
    RankCasesArguments,
)
from service.mcp.documents import read_page, read_ranking, untrusted


def get_case_history(server: Server, arguments: CaseHistoryArguments) -> JsonObject:
    """Return a case with its statistics, and its results, newest first. A continued list contains only the results."""
    path = f"/cases/{quote(arguments.case, safe='')}"
    head = {} if arguments.starting_after else {"case": _case(server.get(path))}
    filters = [("branch", arguments.branch), ("environment", arguments.environment)]
    found = read_page(server, f"{path}/history", filters, arguments.limit, _result, arguments.starting_after)
    return {**head, "results": found.rows, "continue_with": found.continue_with}


def rank_cases(server: Server, arguments: RankCasesArguments) -> JsonObject:
    """Return the most failing, flakiest, or slowest cases of a project."""
    filters = [
        ("project_id", arguments.project_id), ("sort", arguments.sort), ("branch", arguments.branch),
        ("runs", str(arguments.runs)), *(("state", value) for value in arguments.state),
        ("owner", arguments.owner),
    ]  # fmt: skip
    return _named("cases", read_ranking(server, "/cases", filters, arguments.limit, _case))


def list_failure_groups(server: Server, arguments: FailureGroupsArguments) -> JsonObject:
    """Return the failure groups of a run or project, most results first."""
    filters = arguments.model_dump(exclude={"limit"}, by_alias=True)
    return _named("failure_groups", read_ranking(server, "/failures", list(filters.items()), arguments.limit, _group))


def get_failure_group(server: Server, arguments: FailureGroupArguments) -> JsonObject:
    """Return a failure group, and its results, newest first. A continued list contains only the results."""
    head = {}
    if arguments.starting_after is None:
        group = server.get(f"/failures/{quote(arguments.failure_id, safe='')}")
        head = {"failure_group": _group(group) | {"is_partial": group["truncated"]}}
    filters = [("fingerprint", arguments.failure_id)]
    found = read_page(server, "/results", filters, arguments.limit, _named_result, arguments.starting_after)
    return {**head, "results": found.rows, "continue_with": found.continue_with}


def _named(name: str, ranking: JsonObject) -> JsonObject:
    return {name: ranking.pop("rows"), **ranking, "continue_with": None}


def _case(case: JsonObject) -> JsonObject:
    """Return a case. One executed result has a duration, and neither rates nor a mean."""
    names = ("last_status", "last_completed_at", "runs", "executed", "failed", "flaky")
    statistics = {name: case[name] for name in ("failure_rate", "flaky_rate", "mean_duration_ms", "p95_duration_ms")}
    if case["executed"] == 1:
        statistics = {"duration_ms": case["mean_duration_ms"]}
    texts = untrusted(case, "project_id", "case_id", "suite", "name", "variant", "file", "last_run_id", "owners")
    state = {"state": _state(case["state"])} if "state" in case else {}  # an older server has no states
    costs = {"costs": case["costs"]} if case.get("costs") else {}
    return {"case": case["id"], **state, **costs, **{name: case[name] for name in names}, **statistics, **texts}


def _state(state: JsonObject) -> JsonObject:
    counts = {name: state[name] for name in ("runs", "failed", "flaky", "failure_rate") if state[name] is not None}
    texts = ("environment", "since_run_id", "last_passed_run_id", "first_commit", "last_good_commit")
    return {"value": state["value"], **counts, **untrusted(state, *texts)}


def _result(item: JsonObject) -> JsonObject:
    names = ("status", "flaky", "attempts", "duration_ms", "completed_at")
    texts = untrusted(item, "run_id", "environment", "branch", "failure_summary")
    return {"result_id": item["id"], **{name: item[name] for name in names}, **texts}


def _named_result(item: JsonObject) -> JsonObject:
    names = ("case", "status", "flaky", "attempts", "completed_at")
    texts = untrusted(item, "run_id", "environment", "branch", "suite", "name", "variant", "failure_summary")
    return {"result_id": item["id"], **{name: item[name] for name in names}, **texts}


def _group(group: JsonObject) -> JsonObject:
    names = ("results", "cases", "runs", "first_seen", "last_seen", "example_result_id")
    texts = untrusted(group, "project_id", "type", "ticket_url", "owners", message=400)
    return {"failure_id": group["id"], **{name: group[name] for name in names}, **texts}
