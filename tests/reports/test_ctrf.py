"""Conversion of the tests of a CTRF report to results."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import CORPUS, OWN


def test_tests_become_results(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "ctrf.json", tmp_path)

    assert [(result["suite"], result["status"]) for result in results] == [
        ("auth > login", "passed"),
        ("shop > pay", "passed"),
        ("shop > pay", "passed"),
        ("", "failed"),
        ("", "skipped"),
        ("", "skipped"),
        ("tests/stop.ts", "error"),
    ]
    first = results[0]
    assert (first["duration_ms"], first["file"]) == (1200, "tests/login.ts")
    assert str(first["started_at"]) == "2026-05-20 11:59:01+00:00"
    assert results[3]["failure"] == {
        "message": "expected 200",
        "details": "Error: expected 200\n    at ship.ts:9",
    }


@pytest.mark.parametrize(
    ("suite", "path", "expected"),
    [
        ("cart.test.js > totals", "/ci/shop/web/cart.test.js", "web/cart.test.js > totals"),
        ("cart.test.js", "/ci/shop/web/cart.test.js", "web/cart.test.js"),
        (["cart.test.js", "totals"], "/ci/shop/web/cart.test.js", "web/cart.test.js > totals"),
        (None, "/ci/shop/web/cart.test.js", "web/cart.test.js"),
        ("cart.test.js > totals", "web/cart.test.js", "web/cart.test.js > totals"),
        ("cart.test.js > totals", "/elsewhere/web/cart.test.js", "cart.test.js > totals"),
        ("chromium > cart.test.js", "/ci/shop/web/cart.test.js", "chromium > cart.test.js"),
        ("web/cart.test.js > totals", "/ci/shop/web/cart.test.js", "web/cart.test.js > totals"),
        ("cart.test.jsx > totals", "/ci/shop/web/cart.test.js", "cart.test.jsx > totals"),
    ],
    ids=range(9),
)
def test_file_with_its_folders_replaces_its_name_in_the_suite(
    suite: Any, path: str, expected: str, tmp_path: Path
) -> None:
    test = {"name": "adds", "status": "passed", "suite": suite, "filePath": path}
    (tmp_path / "report").write_text(
        json.dumps({"reportFormat": "CTRF", "results": {"tool": {"name": "jest"}, "summary": {}, "tests": [test]}})
    )
    convert(tmp_path / "report", tmp_path / "results", root="/ci/shop")

    (result,) = json.loads((tmp_path / "results").read_bytes())
    assert (result["suite"], result["name"]) == (expected, "adds")


def test_listed_attempts_are_stored(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "ctrf.json", tmp_path)

    attempts: Any = results[1]["attempts"]
    assert [(attempt["status"], attempt["duration_ms"]) for attempt in attempts] == [
        ("failed", 120),
        ("failed", 130),
        ("passed", 140),
    ]
    assert attempts[0]["failure"] == {"message": "Connection timeout", "details": "at pay.ts:3"}


def test_last_attempt_is_added_if_only_earlier_attempts_are_listed(tmp_path: Path) -> None:
    attempts = _attempts(tmp_path, status="failed", retries=1, retryAttempts=[{"attempt": 1, "status": "failed"}])

    assert [attempt["status"] for attempt in attempts] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"status": "passed", "flaky": True}, ["failed", "passed"]),
        ({"status": "passed", "flaky": True, "retries": 2}, ["failed", "passed"]),
        ({"status": "failed", "retries": 1}, ["failed", "failed"]),
        ({"status": "passed", "flaky": False, "retries": 0}, []),
        ({"status": "skipped", "retries": 2}, []),
    ],
)
def test_number_of_retries_implies_attempts(fields: dict[str, Any], statuses: list[str], tmp_path: Path) -> None:
    assert [attempt["status"] for attempt in _attempts(tmp_path, **fields)] == statuses


@pytest.mark.parametrize(("retries", "stored"), [(2, 2), (999, 999), (10**9, 999)])
def test_retries_without_attempts_are_a_number(retries: int, stored: int, tmp_path: Path) -> None:
    test = {"name": "c", "duration": 5, "status": "passed", "retries": retries}
    _, (result,) = convert_text(json.dumps({"results": {"tests": [test]}}), tmp_path)
    assert result["retries"] == stored
    assert len(result["attempts"]) == 2


def test_attachments_of_tests_and_attempts_become_references(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "ctrf.json", tmp_path)

    assert results[1]["artifacts"] == [
        {"kind": "screenshot", "name": "attempt-1-first.png", "uri": "out/1/shot.png", "content_type": "image/png"}
    ]
    assert results[3]["artifacts"] == [
        {"kind": "trace", "name": "trace.zip", "uri": "out/ship/trace.zip", "content_type": "application/zip"}
    ]


def test_report_sets_fields_of_its_run(tmp_path: Path) -> None:
    summary, _ = convert_all(OWN / "ctrf.json", tmp_path)

    assert summary.format == "ctrf"
    assert summary.run == {
        "branch": "main",
        "commit_sha": "a1b2c3",
        "ci_url": "https://ci.example.org/7",
        "environment": "staging",
    }
    assert str(summary.times[0].started_at) == "2026-05-20 11:59:00+00:00"
    assert str(summary.completed_at) == "2026-05-20 12:00:00+00:00"
    assert summary.notes == ()


def test_wrong_declared_counts_are_noted(tmp_path: Path) -> None:
    summary, _ = convert_text('{"results": {"summary": {"tests": 5, "failed": 1}, "tests": []}}', tmp_path)

    assert summary.notes == (
        "tests: the report declares 5, but contains 0",
        "failures: the report declares 1, but contains 0",
    )


def test_expected_failures_of_playwright_are_no_missing_failures(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "playwright" / "ctrf.json", tmp_path)

    assert {result["name"]: result["status"] for result in results}["expected failure"] == "passed"
    assert (summary.notes, summary.failures_missing) == ((), False)


@pytest.mark.parametrize(
    ("declared", "raw_status", "missing"),
    [(0, "failed", False), (1, "failed", False), (2, "failed", True), (1, "passed", True), (1, "odd", True),
     (1, None, True)],
)  # fmt: skip
def test_expected_failure_explains_only_one_declared_failure(
    declared: int, raw_status: str | None, missing: bool, tmp_path: Path
) -> None:
    tests = [{"name": "a", "status": "passed", "rawStatus": raw_status}]
    report = {"results": {"summary": {"failed": declared}, "tests": tests}}

    assert convert_text(json.dumps(report), tmp_path)[0].failures_missing is missing


def test_invalid_tests_keep_their_index(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        convert_text(
            '{"results": {"tests": [7, {"name": 1, "status": "odd"}, {"name": "c", "status": "passed"}]}}',
            tmp_path,
        )

    assert [detail["loc"] for detail in error.value.errors()] == [(0,), (1, "name")]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "other", "rawStatus": "todo"}, "skipped"),
        ({"status": "other", "rawStatus": "Disabled"}, "skipped"),
        ({"status": "other", "rawStatus": "interrupted"}, "error"),
        ({"status": "other", "rawStatus": "Succeeded"}, "passed"),
        ({"status": "other", "rawStatus": "timed-out"}, "error"),
        ({"status": "Other", "rawStatus": "flaked"}, "error"),
        ({"status": "other", "rawStatus": 7}, "error"),
        ({"status": "other"}, "error"),
        ({"status": "FAILED"}, "failed"),
        ({"status": None}, "error"),
        ({}, "error"),
        ({"status": "failed", "rawStatus": "todo"}, "failed"),
    ],
    ids=range(12),
)
def test_status_or_raw_status_of_a_test(fields: dict[str, Any], status: str, tmp_path: Path) -> None:
    _, (result,) = convert_text(json.dumps({"results": {"tests": [{"name": "c", **fields}]}}), tmp_path)

    assert result["status"] == status


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
def test_todo_of_jest_is_skipped(tmp_path: Path) -> None:
    report = json.loads((CORPUS / "gen-ctrf-jest-dayjs.json").read_bytes())
    report["results"]["tests"][0] |= {"status": "other", "rawStatus": "todo"}

    _, results = convert_text(json.dumps(report), tmp_path)

    assert results[0]["status"] == "skipped"


def test_duration_without_a_number_is_unknown_and_noted(tmp_path: Path) -> None:
    tests = [
        {"name": "a", "status": "passed", "duration": "soon"},
        {"name": "b", "status": "passed"},
        {"name": "c", "status": "passed", "duration": 0.25, "retryAttempts": [{"status": "failed", "duration": -1}]},
    ]
    summary, results = convert_text(json.dumps({"results": {"tests": tests}}), tmp_path)

    assert [result.get("duration_ms") for result in results] == [None, None, 1]
    assert summary.notes == ("duration: 2 durations are invalid, such as 'soon'. They are stored as unknown.",)


def test_report_without_tests_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"results\.tests: must be a list"):
        convert_text('{"results": {"summary": {}}}', tmp_path)


def _attempts(folder: Path, **fields: Any) -> list[Any]:
    test = {"name": "c", "duration": 5, **fields}
    _, (result,) = convert_text(json.dumps({"results": {"tests": [test]}}), folder)
    attempts: list[Any] = result.get("attempts", [])
    return attempts
