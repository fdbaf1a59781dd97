"""The tools for runs: the list, and one run with its decision and its failures by change."""

from typing import Final

from service.client.changes import read_quarantines
from service.client.http import JsonObject, Server
from service.client.runs import list_receipts, run_path
from service.comparison.model import describe_missing_items, describe_missing_parts
from service.mcp.arguments import ExplainRunArguments, FindRunsArguments
from service.mcp.documents import PageOfRows, read_page, shorten, untrusted
from service.receipts.model import describe_part, is_unfinished, report_warnings
from service.runs.model import STATED_FIELDS

_NOT_COMPARED: Final = "not_compared"  # the change of a failure if there is no run to compare with
_NOT_YET_RECEIVED: Final = "not_yet_received"  # the change of a result that an incomplete run lacks

_MAX_JOBS: Final = 10
_MAX_NAMES: Final = 600  # characters of the JSON
_MAX_WARNING: Final = 300  # characters
_MAX_NAME: Final = 150
_FLAKY: Final = 5


def find_runs(server: Server, arguments: FindRunsArguments) -> JsonObject:
    """Return runs, newest first."""
    filters = arguments.model_dump(exclude={"limit", "starting_after"})
    found = read_page(server, "/runs", list(filters.items()), arguments.limit, _listed_run, arguments.starting_after)
    return {"runs": found.rows, "continue_with": found.continue_with}


def _listed_run(run: JsonObject) -> JsonObject:
    """Return a run of a list, which isn't compared: only explain_run finds the jobs that sent no results."""
    return {"missing": _missing_of_run(run), **_run(run)}


def explain_run(server: Server, arguments: ExplainRunArguments) -> JsonObject:
    """Return what a run lacks, the run, its newest decision, and its results by change.

    A continued list contains only the results.
    """
    path, is_first = run_path(arguments.run_id), arguments.starting_after is None
    run = server.get(path)
    if is_first and run["results_expired"]:
        return {**_head(server, run, None), "comparison": None, "results": [], "continue_with": None}
    changes = [("change", change) for change in arguments.change]
    found = read_page(server, f"{path}/comparison", changes, arguments.limit, _changed_result, arguments.starting_after)
    head = {**_head(server, run, found.page), "comparison": _comparison(run, found.page)} if is_first else {}
    names = _names_of_changes(run, found.page)
    return {
        **head,
        "results": [{**row, "change": names.get(row["change"], row["change"])} for row in found.rows],
        "quarantines": _quarantines(server, found),
        "continue_with": found.continue_with,
    }


def _head(server: Server, run: JsonObject, comparison: JsonObject | None) -> JsonObject:
    receipts = list_receipts(server, run["run_id"])
    warnings = [shorten(warning, _MAX_WARNING) for warning in report_warnings(receipts)]
    return {
        "missing": _missing_of_comparison(run, comparison, receipts),
        "run": _run(run),
        "decision": _newest_decision(server, run),
        "warnings": warnings,
        "flaky_results": _flaky_results(server, run),
    }


def _missing_of_comparison(run: JsonObject, comparison: JsonObject | None, receipts: list[JsonObject]) -> JsonObject:
    """Return everything that the run lacks, with the names of the jobs that sent no results. `statements` can be empty.

    `comparison` is None if the results have expired.
    """
    parts = comparison["missing_parts"] if comparison else []
    cases = comparison["missing_cases"] if comparison else 0
    statements = [_count_jobs(parts, run)] if parts else []
    statements += _missing_of_run(run)
    if unfinished := sum(map(is_unfinished, receipts)):
        statements.append(f"Reports that aren't processed yet: {unfinished}")
    if cases:
        statements.append(f"Cases that the baseline executed and the other jobs of this run lack: {cases}")
    names = "; ".join(describe_part(part, unnamed="a job without a name") for part in parts[:_MAX_JOBS])
    texts = {"jobs": names} if parts else {}
    if items := describe_missing_items(comparison or {}):
        sentence, _, texts["items"] = items.partition(": ")
        statements.append(sentence)
    return {"statements": statements, **(untrusted(texts, **dict.fromkeys(texts, _MAX_NAMES)) if texts else {})}


def _count_jobs(parts: list[JsonObject], run: JsonObject) -> str:
    """Return the first words of the sentence that other views show. It names no job, because names are untrusted."""
    sentence = describe_missing_parts(parts, run["parts"]) or ""
    return sentence.partition(":")[0]


def _missing_of_run(run: JsonObject) -> list[str]:
    """Return what the run itself states about missing results."""
    statements = []
    if not run["complete"]:
        statements.append("The run isn't complete: further results can arrive")
    if run["failures_missing"]:
        statements.append("A report declares failures that it doesn't contain")
    if run["results_expired"]:
        statements.append("The results are older than the retention and were deleted")
    return statements


def _run(run: JsonObject) -> JsonObject:
    names = ("status", "complete", "failures_missing", "counts", "revision", "completed_at", "duration_ms")
    texts = untrusted(run, "run_id", "project_id", *STATED_FIELDS)
    return {name: run[name] for name in (*names, "results_expired")} | {"trusted": _is_trusted(run)} | texts


def _is_trusted(run: JsonObject) -> bool:
    """Return whether a run is trusted. An older server has only trusted runs, and doesn't say so."""
    trusted: bool = run.get("trusted", True)
    return trusted


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
        **untrusted(decision, "gate", "baseline_run_id", "created_by_name"),
        "policy_of_flags": decision["policy"] if decision["gate"] is None else None,
        "waiver": waiver and untrusted(waiver, "reason", "created_by_name"),
    }


def _flaky_results(server: Server, run: JsonObject) -> list[JsonObject]:
    """Return the first results that passed after a failed attempt, such as by a rerun of their job."""
    if not run["counts"]["flaky"] or run["results_expired"]:
        return []
    params = {"run_id": run["run_id"], "flaky": "true", "limit": str(_FLAKY)}
    if not _is_trusted(run):
        params["trusted"] = "false"
    found = server.get("/results", params)["data"]
    return [
        {"result_id": item["id"], "attempts": item["attempts"], **untrusted(item, name=_MAX_NAME)} for item in found
    ]


def _comparison(run: JsonObject, page: JsonObject) -> JsonObject:
    baseline, names = page["baseline"], _names_of_changes(run, page)
    shown = page["counts"] if baseline else ("new_failure", "quarantined")
    return {
        "baseline": baseline and {
            "completed_at": baseline["completed_at"], **untrusted(baseline, "run_id", "branch", "commit_sha"),
        },
        "counts": {names.get(change, change): page["counts"][change] for change in shown},
        "is_partial": page["truncated"],
    }  # fmt: skip


def _names_of_changes(run: JsonObject, page: JsonObject) -> dict[str, str]:
    """Return other names of changes. They claim neither that failures are new without a baseline, nor that results are
    removed from a run that can still get them.
    """
    names = {} if page["baseline"] else {"new_failure": _NOT_COMPARED}
    return names if run["complete"] else {**names, "removed": _NOT_YET_RECEIVED}


def _changed_result(item: JsonObject) -> JsonObject:
    evidence = item["evidence"]
    names = ("case", "change", "status", "baseline_status", "flaky", "attempts", "duration_ms", "quarantine_id")
    counts = ("runs", "failed", "flaky", "failure_rate")  # an earlier version of the service has no failure_rate
    searched = {name: evidence.get(name) for name in counts} if evidence else None
    texts = untrusted(
        item | (evidence or {}), "suite", "name", "variant", "file", "failure_summary", "since_run_id",
        "failing_since_run_id", "last_passed_run_id", "repaired_run_id",
    )  # fmt: skip
    return {"result_id": item["id"], **{name: item[name] for name in names}, "evidence": searched, **texts}


def _quarantines(server: Server, found: PageOfRows) -> list[JsonObject]:
    return [
        {
            "id": id_,
            "expires_at": quarantine["expires_at"],
            **untrusted(quarantine, "reason", "owner", "ticket_url", "created_by_name"),
        }
        for id_, quarantine in read_quarantines(server, found.rows).items()
    ]
