"""The tools for runs: the list, and one run with its decision and its failures by change."""

from typing import Final

from service.client.changes import read_quarantines
from service.client.http import JsonObject, Server
from service.client.receipts import list_receipts
from service.client.runs import run_path
from service.domain.receipts import report_warnings
from service.mcp.arguments import ExplainRunArguments, FindRunsArguments
from service.mcp.documents import shorten, untrusted
from service.mcp.pages import PageOfRows, read_page

_MAX_WARNING: Final = 300  # characters


def find_runs(server: Server, arguments: FindRunsArguments) -> JsonObject:
    """Return runs, newest first."""
    filters = arguments.model_dump(exclude={"limit", "starting_after"})
    found = read_page(server, "/runs", list(filters.items()), arguments.limit, _run, arguments.starting_after)
    return {"runs": found.rows, "continue_with": found.continue_with}


def explain_run(server: Server, arguments: ExplainRunArguments) -> JsonObject:
    """Return a run, its newest decision, and its results by change. A continued list contains only the results."""
    head: JsonObject = {}
    if arguments.starting_after is None:
        run = server.get(run_path(arguments.run_id))
        head = {"run": _run(run), "decision": _newest_decision(server, run), "warnings": _warnings(server, run)}
        if run["results_expired"]:
            return {**head, "comparison": None, "results": [], "continue_with": None}
    changes = [("change", change) for change in arguments.change]
    path = f"{run_path(arguments.run_id)}/comparison"
    found = read_page(server, path, changes, arguments.limit, _changed_result, arguments.starting_after)
    if head:
        head["comparison"] = _comparison(found.page)
    return {
        **head,
        "results": found.rows,
        "quarantines": _quarantines(server, found),
        "continue_with": found.continue_with,
    }


def _run(run: JsonObject) -> JsonObject:
    names = ("status", "complete", "failures_missing", "counts", "revision", "completed_at", "duration_ms")
    texts = untrusted(
        run, "run_id", "project_id", "environment", "branch", "base_branch", "commit_sha", "pull_request", "ci_url",
        "pipeline", "title", "author", "workflow", "job_url", "repository_url", "labels",
    )  # fmt: skip
    return {name: run[name] for name in (*names, "results_expired")} | texts


def _newest_decision(server: Server, run: JsonObject) -> JsonObject | None:
    """Return the newest stored decision about the run, or None."""
    found = server.get("/decisions", {"run_id": run["run_id"], "limit": "1"})["data"]
    if not found:
        return None
    decision = found[0]
    waiver = decision["waiver"]
    return {
        "id": decision["id"],
        "decision": decision["decision"],
        "is_about_current_revision": decision["revision"] == run["revision"],
        "failed_rules": [rule for rule in decision["rules"] if not rule["passed"]],
        "created_at": decision["created_at"],
        **untrusted(decision, "gate", "baseline_run_id"),
        "waiver": waiver and untrusted(waiver, "reason"),
    }


def _warnings(server: Server, run: JsonObject) -> list[str]:
    return [shorten(warning, _MAX_WARNING) for warning in report_warnings(list_receipts(server, run["run_id"]))]


def _comparison(page: JsonObject) -> JsonObject:
    baseline = page["baseline"]
    return {
        "baseline": baseline and {
            "completed_at": baseline["completed_at"], **untrusted(baseline, "run_id", "branch", "commit_sha"),
        },
        "counts": page["counts"],
        "is_partial": page["truncated"],
    }  # fmt: skip


def _changed_result(item: JsonObject) -> JsonObject:
    evidence = item["evidence"]
    names = ("case", "change", "status", "baseline_status", "flaky", "attempts", "duration_ms", "quarantine_id")
    searched = {name: evidence[name] for name in ("runs", "failed", "flaky")} if evidence else None
    texts = untrusted(
        item | (evidence or {}), "suite", "name", "variant", "file", "failure_summary", "failing_since_run_id",
        "last_passed_run_id",
    )  # fmt: skip
    return {"result_id": item["id"], **{name: item[name] for name in names}, "evidence": searched, **texts}


def _quarantines(server: Server, found: PageOfRows) -> list[JsonObject]:
    return [
        {"id": id_, "expires_at": quarantine["expires_at"], **untrusted(quarantine, "reason", "owner", "ticket_url")}
        for id_, quarantine in read_quarantines(server, found.rows).items()
    ]
