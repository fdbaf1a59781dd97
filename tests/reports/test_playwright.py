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


def test_counts_and_attachments_of_a_real_report(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "playwright.json", tmp_path)

    assert (summary.format, summary.times[0].duration_ms) == ("playwright", 17_807.874)
    assert summary.declared == {"tests": 16, "failures": 7, "skipped": 3}
    assert (summary.notes, summary.failures_missing) == ((), False)
    of_attachments: Any = next(result for result in results if result["name"] == "writes an attachment")
    *_, receipt, _ = of_attachments["artifacts"]
    assert (receipt["name"], receipt["kind"], receipt["content_type"]) == ("receipt.txt", "log", "text/plain")
    assert "/test-results/" in receipt["uri"]


def test_real_report_with_a_browser(tmp_path: Path) -> None:
    if not CORPUS.exists():
        pytest.skip("the corpus is missing")
    summary, results = convert_all(CORPUS / "playwright-launchable-report.json", tmp_path)

    assert summary.notes == ()
    assert {(result.get("variant") or {})["project"] for result in results} == {"chromium", "firefox", "webkit"}


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
