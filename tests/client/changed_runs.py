"""Runs with changes, as the API returns them."""

from typing import Any

from service.client.changes import RunChanges

BASELINE = {"run_id": "run-812", "branch": "main", "commit_sha": "c0ffee0123456789"}


def changed(name: str = "pays", change: str = "new_failure", **fields: Any) -> dict[str, Any]:
    """Return an item of a comparison."""
    evidence = {"runs": 3, "failed": 0, "flaky": 0, "failing_since_run_id": None, "last_passed_run_id": "run-812"}
    return {
        "id": f"res_{name}", "suite": "shop", "name": name, "variant": {}, "file": None, "status": "failed",
        "failure_summary": "expected 200 got 503", "change": change, "quarantine_id": None, "evidence": evidence,
        "baseline_status": "failed" if change == "known_failure" else "passed",
    } | fields  # fmt: skip


def run_changes(*results: dict[str, Any], baseline: dict[str, Any] | None = BASELINE, **fields: Any) -> RunChanges:
    """Return the changes of a run with these failures."""
    counts = {"passed": 5, "failed": len(results), "error": 0, "skipped": 0, "canceled": 0, "flaky": 0}
    run = {
        "run_id": "ci-43", "project_id": "shop", "status": "failed" if results else "passed", "counts": counts,
        "ci_url": None,
    }  # fmt: skip
    kinds = ("new_failure", "known_failure", "flaky_failure", "quarantined")
    comparison = {
        "baseline": baseline, "data": list(results),
        "counts": {kind: sum(result["change"] == kind for result in results) for kind in kinds},
    }  # fmt: skip
    return RunChanges(run, comparison, **{"flaky": [], "quarantines": {}, **fields})
