"""Conversion of the JSON report of Playwright to results."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import CORPUS, OWN

CONFIG = {"configFile": "/ci/shop/playwright.config.ts", "rootDir": "/ci/shop/tests"}


def report_of(*specs: Any, title: str = "a.spec.ts", **members: Any) -> str:
    suite = {"title": title, "file": "a.spec.ts", "specs": list(specs)}
    return json.dumps({"config": CONFIG, "suites": [suite], **members})


def spec_of(*attempts: str, expected: str = "passed", **test: Any) -> Any:
    results = [{"status": status, "duration": 10, "errors": []} for status in attempts]
    return {"title": "pays", "tests": [{"expectedStatus": expected, "results": results, **test}]}


@pytest.fixture
def results(tmp_path: Path) -> dict[tuple[str, str], Any]:
    """The results of the real report by name and project."""
    _, found = convert_all(OWN / "playwright.json", tmp_path)
    return {(result["name"], (result.get("variant") or {})["project"]): result for result in found}


def test_tests_of_each_project_become_results(results: dict[tuple[str, str], Any]) -> None:
    assert {key: (result["suite"], result["status"]) for key, result in results.items()} == {
        ("adds a product", "desktop"): ("cart.spec.ts > cart", "passed"),
        ("adds a product", "mobile"): ("cart.spec.ts > cart", "passed"),
        ("writes an attachment", "desktop"): ("cart.spec.ts > cart", "failed"),
        ("writes an attachment", "mobile"): ("cart.spec.ts > cart", "failed"),
        ("is applied once", "desktop"): ("cart.spec.ts > cart > discount", "failed"),
        ("is applied once", "mobile"): ("cart.spec.ts > cart > discount", "failed"),
        ("is flaky", "desktop"): ("cart.spec.ts > cart > discount", "passed"),
        ("is flaky", "mobile"): ("cart.spec.ts > cart > discount", "passed"),
        ("opens", "desktop"): ("shop.spec.ts", "passed"),
        ("closes at night", "desktop"): ("shop.spec.ts", "skipped"),
        ("opens on Sundays", "desktop"): ("shop.spec.ts", "skipped"),
        ("has known defect", "desktop"): ("shop.spec.ts", "passed"),
        ("passes unexpectedly", "desktop"): ("shop.spec.ts", "failed"),
        ("waits too long", "desktop"): ("shop.spec.ts", "failed"),
        ("pays", "desktop"): ("shop.spec.ts > checkout", "failed"),
        ("ships", "desktop"): ("shop.spec.ts > checkout", "skipped"),
    }


def test_file_line_and_properties_are_read(results: dict[tuple[str, str], Any]) -> None:
    result = results["adds a product", "mobile"]
    assert (result["file"], result["line"]) == ("cart.spec.ts", 5)
    assert result["properties"] == {"tags": "smoke", "issue": "SHOP-7"}
    assert result["started_at"].isoformat().startswith("2026-11-25T16:")


def test_attempts_have_their_own_status_time_and_failure(results: dict[tuple[str, str], Any]) -> None:
    result = results["is flaky", "desktop"]
    assert [attempt["status"] for attempt in result["attempts"]] == ["failed", "passed"]
    assert result["attempts"][0]["failure"]["message"] == "Error: expect(received).toBe(expected) // Object.is equality"
    assert result["duration_ms"] == sum(attempt["duration_ms"] for attempt in result["attempts"])
    assert result["started_at"] == result["attempts"][0]["started_at"] < result["attempts"][1]["started_at"]
    assert "failure" not in result


def test_failures_contain_all_errors_without_escape_sequences(results: dict[tuple[str, str], Any]) -> None:
    details = results["writes an attachment", "desktop"]["failure"]["details"]
    assert "Expected: 3\nReceived: 1" in details
    assert 'Expected: "b"\nReceived: "a"' in details
    assert "\x1b" not in details
    assert results["passes unexpectedly", "desktop"]["failure"] == {
        "message": "The test passed, but is marked as failing with test.fail()."
    }


def test_attachments_with_a_path_are_references(results: dict[tuple[str, str], Any]) -> None:
    *_, receipt, _ = results["writes an attachment", "desktop"]["artifacts"]
    assert (receipt["name"], receipt["kind"], receipt["content_type"]) == ("receipt.txt", "log", "text/plain")
    assert "/test-results/" in receipt["uri"]


def test_run_has_the_times_and_counts_of_the_report(tmp_path: Path) -> None:
    stats = json.loads((OWN / "playwright.json").read_bytes())["stats"]
    summary, _ = convert_all(OWN / "playwright.json", tmp_path)

    assert summary.format == "playwright"
    assert f"{summary.times[0].started_at:%Y-%m-%dT%H:%M:%S}" == stats["startTime"][:19]
    assert summary.times[0].duration_ms == stats["duration"]
    assert summary.declared == {"tests": 16, "failures": 7, "skipped": 3}
    assert (summary.notes, summary.failures_missing) == ((), False)


def test_real_report_with_a_browser(tmp_path: Path) -> None:
    if not CORPUS.exists():
        pytest.skip("the corpus is missing")
    summary, results = convert_all(CORPUS / "playwright-launchable-report.json", tmp_path)

    assert summary.notes == ()
    assert {(result.get("variant") or {})["project"] for result in results} == {"chromium", "firefox", "webkit"}


@pytest.mark.parametrize(
    ("name", "suites", "message"),
    [
        ("playwright-stopped.json", [""], "Testing stopped early after 1 maximum allowed failures."),
        ("playwright-defect.json", ["defect.spec.ts"], "Error: the fixture file is missing"),
    ],
)
def test_error_of_the_run_is_a_result(name: str, suites: list[str], message: str, tmp_path: Path) -> None:
    summary, results = convert_all(OWN / name, tmp_path)

    errors = [result for result in results if result["name"] == "(suite)"]
    assert [(result.get("suite"), result["status"]) for result in errors] == [(suite, "error") for suite in suites]
    assert (errors[0].get("failure") or {}).get("message") == message
    assert summary.notes == ()


@pytest.mark.parametrize(
    ("attempts", "expected", "status", "listed"),
    [
        (("failed", "interrupted"), "passed", "failed", None),
        (("failed", "skipped"), "passed", "failed", None),
        (("interrupted",), "passed", "canceled", None),
        (("timedOut", "passed"), "passed", "passed", ["failed", "passed"]),
        (("failed",), "failed", "passed", None),
        (("timedOut",), "failed", "failed", None),
        (("skipped",), "skipped", "skipped", None),
        (("skipped", "skipped"), "passed", "skipped", None),
        ((), "passed", "skipped", None),
    ],
    ids=range(9),
)
def test_status_of_attempts(
    attempts: tuple[str, ...], expected: str, status: str, listed: list[str] | None, tmp_path: Path
) -> None:
    _, (result,) = convert_text(report_of(spec_of(*attempts, expected=expected)), tmp_path)

    found = result.get("attempts")
    assert (result["status"], found and [attempt["status"] for attempt in found]) == (status, listed)


@pytest.mark.parametrize(
    "attempt", [{"status": "odd"}, {"status": None}, {}, 7], ids=["unknown", "null", "missing", "not an object"]
)
@pytest.mark.parametrize("expected", ["passed", "odd", None])
def test_attempt_with_an_unknown_status_is_an_error(attempt: Any, expected: str | None, tmp_path: Path) -> None:
    spec = {"title": "pays", "tests": [{"expectedStatus": expected, "results": [attempt]}]}

    summary, (result,) = convert_text(report_of(spec), tmp_path)

    assert result["status"] == "error"
    assert result["failure"]["message"].startswith("unknown status")
    assert not summary.failures_missing


def test_test_that_is_not_an_object_is_passed_on_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        convert_text(report_of({"title": "pays", "tests": [7]}), tmp_path)

    assert error.value.errors()[0]["loc"] == (0,)


def test_spec_without_a_list_of_tests_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="tests: must be a list"):
        convert_text(report_of({"title": "pays", "tests": {}}), tmp_path)


@pytest.mark.parametrize(
    ("project", "variant"), [("", None), ("a\nb", {"project": "ab"}), ("x" * 65, {"project": "x" * 64})], ids=range(3)
)
def test_project_is_a_valid_variant(project: str, variant: dict[str, str] | None, tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(spec_of("passed", projectName=project)), tmp_path)

    assert result.get("variant") == variant


def test_file_of_windows_is_the_same_suite(tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(spec_of("passed"), title="sub\\a.spec.ts"), tmp_path)

    assert result["suite"] == "sub/a.spec.ts"


def test_error_of_the_run_has_the_path_of_its_file_in_the_test_folder(tmp_path: Path) -> None:
    error = {"message": "no", "location": {"file": "/ci/shop/tests/sub/b.spec.ts"}}
    _, (result,) = convert_text(report_of(errors=[error]), tmp_path)

    assert (result["suite"], result["failure"]) == ("sub/b.spec.ts", {"message": "no"})


def test_declared_failure_that_the_report_contains_is_not_missing(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(spec_of("failed"), stats={"unexpected": 1}), tmp_path)

    assert (summary.notes, summary.failures_missing) == ((), False)


def test_declared_failures_without_a_failing_test_are_missing(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(spec_of("passed"), stats={"expected": 1, "unexpected": 1}), tmp_path)

    assert summary.failures_missing
    assert summary.notes == (
        "tests: the report declares 2, but contains 1", "failures: the report declares 1, but contains 0",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (json.dumps({"config": CONFIG, "errors": []}), "suites: must be a list"),
        (json.dumps({"config": CONFIG, "suites": [{"specs": [], "title": "a"}]}), "title: must be before specs"),
        (
            '{"config": {"argv": []}, "suites": [' + '{"title": "a", "suites": [' * 60,
            "must be nested at most 50 levels",
        ),
        (report_of("a spec"), "specs: must be a list of objects"),
        (report_of() + "{}", "unexpected data"),
        (report_of(spec_of("passed"))[:-20], "invalid JSON"),
    ],
    ids=range(6),
)
def test_malformed_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"


def test_report_in_another_order_is_read(tmp_path: Path) -> None:
    report = json.loads(report_of(spec_of("failed")))
    reordered = json.dumps({key: report[key] for key in sorted(report, reverse=True)})
    assert convert_text(reordered, tmp_path)[1] == convert_text(json.dumps(report), tmp_path)[1]
