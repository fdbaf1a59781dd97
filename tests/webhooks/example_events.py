"""One event of each type with the shape of its contract, for messages."""

from collections.abc import Mapping
from typing import Any, Final

from service.events.model import EVENTS, SUMMARY, TEST

BASE: Final = "https://results.example.org"
TIME: Final = "2026-12-01T09:30:00.000Z"
COMMIT: Final = "8f2c0e5d5a1f4b7c9d3e6a8b0c1d2e3f4a5b6c7d"
_RUN: Final[dict[str, Any]] = {
    "id": "github-812", "organization_id": "acme", "run_id": "github-812", "project_id": "shop",
    "environment": "staging",
    "branch": "main", "base_branch": None, "pull_request": "418", "commit_sha": COMMIT, "pipeline": "github-812",
    "title": "Round prices to cents", "author": "ada", "workflow": "tests", "job_url": None,
    "repository_url": "https://github.com/acme/shop", "labels": {"team": "cart"}, "status": "failed",
    "failures_missing": False, "complete": True,
    "counts": {"passed": 1204, "failed": 2, "error": 1, "skipped": 4, "canceled": 0, "flaky": 3}, "revision": 1,
    "started_at": TIME, "completed_at": TIME, "duration_ms": 184_220,
    "failing_cases": [
        {
            "id": f"res_{number:048x}", "case": f"case_{number:016x}", "case_id": None, "variant": {"os": "linux"},
            "suite": "tests.test_cart.TestTotals", "name": f"test_rounds_total[{number}]", "file": "tests/test_cart.py",
            "status": "failed", "failure_summary": "AssertionError: assert Decimal('19.990') == Decimal('19.99')",
        } for number in range(2)
    ], "truncated": True,
    "links": {
        "run": f"{BASE}/v1/runs/github-812", "results": f"{BASE}/v1/results?run_id=github-812",
        "console": f"{BASE}/console/runs/github-812", "ci": "https://github.com/acme/shop/actions/runs/812",
    },
}  # fmt: skip
_EXPORT: Final[dict[str, Any]] = {
    "id": "exp_1", "status": "failed", "format": "csv", "compression": "none", "content": "results", "columns": [],
    "raw": False, "filter": {}, "updated_since": None, "position": None, "rows": 1_200_000, "size": None,
    "sha256": None,
    "progress": None, "error": "the storage rejects the file: 403", "created_at": TIME, "started_at": None,
    "finished_at": TIME, "expires_at": None, "file_url": None,
}  # fmt: skip
_WEBHOOK: Final[dict[str, Any]] = {
    "webhook_id": "whk_1", "description": "Deployments", "reason": "failing", "failing_since": TIME,
}  # fmt: skip
_QUARANTINE: Final[dict[str, Any]] = {
    "id": "qua_" + "1" * 32, "project_id": "shop", "case": "case_" + "0" * 16,
    "named_case": {"suite": "tests.test_cart", "name": "test_pays", "variant": {}}, "suite": None, "name": None,
    "variant": {}, "reason": "The payment sandbox is unstable", "owner": "payments",
    "ticket_url": "https://tickets.example.org/PAY-7", "expires_at": TIME, "active": True, "created_by": "key_1",
    "created_by_name": "Ada", "created_at": TIME, "ended_at": None,
}  # fmt: skip
_DECISION: Final[dict[str, Any]] = {
    "id": "dec_1", "organization_id": "acme", "run_id": "github-812", "revision": 1, "gate": "release",
    "gate_version": 3,
    "policy": {}, "baseline_run_id": "github-809", "decision": "blocked",
    "rules": [
        {"rule": "max_new_failures", "limit": 0, "value": 2, "passed": False},
        {"rule": "min_pass_rate", "limit": 0.98, "value": 0.996, "passed": True},
    ],
    "failures": {"new": 2, "known": 1, "flaky": 0, "quarantined": 0}, "missing_parts": [], "missing_cases": 0,
    "missing_cases_sample": [], "missing_items": None, "missing_items_sample": None, "truncated": False, "waiver": None,
    "created_by": "key_1", "created_by_name": "CI", "created_at": TIME,
}  # fmt: skip
_CASE: Final[dict[str, Any]] = {
    "id": "case_70179bc06ed44692", "project_id": "shop", "case_id": None, "variant": {}, "suite": "tests.test_cart",
    "name": "test_pays_with_card", "file": "tests/test_cart.py", "owners": ["@acme/payments", "ada@example.org"],
    "state": {
        "value": "broken", "environment": None, "since_run_id": "github-812", "last_passed_run_id": "github-811",
        "first_commit": COMMIT, "last_good_commit": "1" * 40, "runs": 3, "failed": 3, "flaky": 0, "failure_rate": 1.0,
    },
    "previous_state": "healthy",
}  # fmt: skip
_GROUP: Final[dict[str, Any]] = {
    "id": "fp1_c4fa46310696c628", "project_id": "shop", "state": "open", "type": "TimeoutError",
    "message": "no response from payments:8443 within 30 s", "branch": "main", "opened_at": TIME,
    "opened_run_id": "github-812", "last_run_id": "github-815", "resolved_at": None, "resolved_run_id": None,
    "commit_sha": COMMIT, "last_good_commit": "1" * 40, "repository_url": "https://github.com/acme/shop",
    "case_count": 31,
    "cases": [
        {
            "id": f"res_{number:048x}", "case": f"case_{number:016x}", "suite": "tests.test_payments",
            "name": f"test_refunds_order[{number}]", "file": "tests/test_payments.py", "owners": ["@acme/payments"],
        } for number in range(20)
    ],
    "owners": ["@acme/payments"], "ticket_url": "https://tickets.example.org/PAY-8",
    "links": {
        "failure_group": f"{BASE}/v1/failures/fp1_c4fa46310696c628", "result": f"{BASE}/v1/results/res_1",
        "console": f"{BASE}/console/failures/fp1_c4fa46310696c628", "console_result": f"{BASE}/console/results/res_1",
        "ci": "https://github.com/acme/shop/actions/runs/815",
    },
}  # fmt: skip
_WEEK: Final = {
    "runs": 412, "failed_runs": 37, "results": 512_000, "duration_ms": 91_000_000, "retry_duration_ms": 1_200_000,
    "opened": 6, "resolved": 4,
}  # fmt: skip
_DIGEST: Final[dict[str, Any]] = {
    "project_id": "shop", "owner": "@acme/payments", "week": "2026-W48", "current": _WEEK,
    "previous": _WEEK | {"runs": 380},
    "broken": 3, "flaky": 11, "quarantined": 2,
    "open_groups": [
        {
            "id": "fp1_1", "message": "no response from payments:8443 within 30 s", "case_count": 31, "opened_at": TIME,
            "console": f"{BASE}/console/failures/fp1_1",
        }
    ],
    "open_group_count": 14,
    "longest": [
        {"case": "case_1", "suite": "tests.test_export", "name": "test_exports_year", "duration_ms": 5_400_000,
         "console": f"{BASE}/console/cases/case_1"}
    ],
    "console": f"{BASE}/console/health?project_id=shop",
}  # fmt: skip
_OBJECTS: Final[Mapping[str, dict[str, Any]]] = {
    "run": _RUN, "export": _EXPORT, "webhook": _WEBHOOK, "quarantine": _QUARANTINE, "decision": _DECISION,
    "case": _CASE,    "failure_group": _GROUP, "digest": _DIGEST,
}  # fmt: skip
EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    **{event_type: _OBJECTS[definition.subject] for event_type, definition in EVENTS.items()},
    SUMMARY: {
        "webhook_id": "whk_1", "since": TIME, "until": TIME, "total": 9_980, "other_count": 12,
        "counts": [
            {"type": "case.broken", "project_id": "shop", "count": 9_960},
            {"type": "export.failed", "project_id": None, "count": 8},
        ],
        "subjects": [
            {
                "title": f"Test is broken: test_refunds_order[{number}]",
                "url": f"{BASE}/console/cases/case_{number:016x}",
            }
            for number in range(10)
        ],
    },
    TEST: {"webhook_id": "whk_1", "message": "This is a test. Deliveries reach this endpoint."},
}  # fmt: skip
