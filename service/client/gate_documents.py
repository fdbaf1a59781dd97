"""The outcome of a gate as one JSON document, and as outputs for later steps of a CI job."""

from typing import Final

from service.client.gate_outcomes import GateOutcome, RunOutcome
from service.client.http import JsonObject
from service.client.links import ConsoleLinks
from service.client.terminal import to_json
from service.domain.evidence import full_name
from service.domain.failures import to_line
from service.domain.gates import describe_failed_rules

_MAX_OUTPUT: Final = 500_000  # characters; the outputs of a job of GitHub have at most 1 MB
_FAILURES: Final = {
    "new_failures": "new", "known_failures": "known", "flaky_failures": "flaky", "quarantined_failures": "quarantined",
}  # fmt: skip


def format_document(outcome: GateOutcome, links: ConsoleLinks) -> str:
    """Return the outcome as a JSON document on one line. docs/gates.md describes its fields."""
    document = {
        "outcome": outcome.state,
        "exit_code": outcome.exit_code,
        "pipeline": outcome.selection.pipeline,
        "projects": outcome.projects,
        "missing_projects": [missing._asdict() for missing in outcome.missing_projects],
        "problems": list(outcome.problems),
        "runs": [_write_run(run, links) for run in outcome.runs],
    }
    return to_json(document)


def describe_outputs(outcome: GateOutcome, links: ConsoleLinks) -> dict[str, object]:
    """Return the outputs of the job. Numbers are the sums of all decisions. Values of one run exist only for one."""
    decisions, document = [run.decision for run in outcome.runs if run.decision], format_document(outcome, links)
    outputs: dict[str, object] = {
        "outcome": outcome.state,
        "exit_code": outcome.exit_code,
        "pipeline": outcome.selection.pipeline,
        "projects": ",".join(outcome.projects),
        "blocked_projects": ",".join(sorted({run.project for run in outcome.runs if run.state == "blocked"})),
        **{name: sum(decision["failures"][kind] for decision in decisions) for name, kind in _FAILURES.items()},
        "missing_parts": sum(len(decision.get("missing_parts") or ()) for decision in decisions),
        "missing_projects": ",".join(missing.project for missing in outcome.missing_projects),
        "json": document if len(document) <= _MAX_OUTPUT else None,
    }
    if len(outcome.runs) == 1:
        outputs |= _describe_only_run(outcome.runs[0], links)
    return outputs


def _describe_only_run(run: RunOutcome, links: ConsoleLinks) -> dict[str, object]:
    return {
        "project": run.run and run.project,
        "run_id": run.run_id,
        "run_url": links.run(run.run_id),
        "decision_id": run.decision and run.decision["id"],
    }


def _write_run(run: RunOutcome, links: ConsoleLinks) -> JsonObject:
    """Return what is known about a run. Without a decision, `problem` states the reason."""
    stored, decision, changes = run.run or {}, run.decision, run.changes
    return {
        "run_id": run.run_id,
        "run_url": links.run(run.run_id),
        "project_id": stored.get("project_id"),
        "status": stored.get("status"),
        "counts": stored.get("counts"),
        "outcome": run.state,
        "exit_code": run.exit_code,
        "problem": run.problem and to_line(run.problem),
        "warnings": list(run.warnings),
        "decision": decision,
        "decision_url": links.decision(decision["id"]) if decision and decision["id"] else None,
        "reasons": describe_failed_rules(decision) if decision else [],
        "missing": changes.describe_missing_parts(decision) if changes else None,
        "baseline": changes.baseline if changes else None,
        "changes": changes.comparison["counts"] if changes else None,
        "failures": [_write_failure(result, links) for result in changes.failures] if changes else [],
    }


def _write_failure(result: JsonObject, links: ConsoleLinks) -> JsonObject:
    return {
        "id": result["id"],
        "url": links.result(result["id"]),
        "name": full_name(result),
        "file": result["file"],
        "change": result["change"],
        "failure_summary": result["failure_summary"],
    }
