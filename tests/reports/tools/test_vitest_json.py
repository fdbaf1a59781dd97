"""JSON reports of Vitest (`--reporter=json`), compared with the JUnit XML of the same run."""

import json
from pathlib import Path
from typing import Final

from service.reports.conversion.convert import convert
from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "vitest" / "vitest.json"
TEARDOWN: Final = OWN / "vitest" / "vitest-teardown.json"
JUNIT: Final = OWN / "vitest" / "vitest-junit.xml"
FILE: Final = "cart.test.js"
NO_MODULE: Final = "Cannot find module './missing-module.js' imported from '/builds/shop/src/broken.test.js'"
SUMS_DIFFER: Final = "AssertionError: expected { sum: 3, list: [ 1 ] } to deeply equal { sum: 4, list: [ 1 ] }"
NO_REASON: Final = "The report states that the file failed, but no reason."


def test_cases() -> None:
    assert outline(REPORT) == [
        ("broken.test.js", "(suite)", "broken.test.js", None, "error", None, NO_MODULE),
        (FILE, "cart > totals — Σ > adds items", FILE, 5, "passed", 1, None),
        (FILE, "cart > totals — Σ > is wrong", FILE, 6, "failed", 5, SUMS_DIFFER),
        (FILE, "cart > totals — Σ > parametrized 1 = 1", FILE, None, "passed", 1, None),
        (FILE, "cart > totals — Σ > parametrized 2 = 3", FILE, 7, "failed", 1,
         "AssertionError: expected 2 to be 3 // Object.is equality"),
        (FILE, "cart > is skipped", FILE, 9, "skipped", None, None),
        (FILE, "cart > is skipped with a reason", FILE, 10, "skipped", 1, None),
        (FILE, "cart > is planned", FILE, 11, "skipped", None, None),
        (FILE, "cart > throws a string", FILE, 12, "failed", 1, "plain <&> red"),
        (FILE, "cart > times out", FILE, 13, "failed", 21, "Error: STACK_TRACE_ERROR"),
        (FILE, "cart > ", FILE, None, "passed", 1, None),
        (FILE, "cart > expected failure", FILE, None, "passed", 1, None),
        (FILE, "cart > was fixed", FILE, 16, "failed", 1, "Error: Expect test to fail"),
        (FILE, "hooks > first", FILE, 20, "skipped", None, None),
        (FILE, "passes in the third attempt", FILE, 23, "passed", 5, None),
        (FILE, "always fails", FILE, 24, "failed", 1, "Error: always"),
        (FILE, "two soft failures", FILE, 25, "failed", 4, "AssertionError: expected 1 to be 2 // Object.is equality"),
        ("hooks.test.js", "hooks > first", "hooks.test.js", 4, "skipped", None, None),
        ("hooks.test.js", "(suite)", "hooks.test.js", None, "error", None, NO_REASON),
        ("teardown.test.js", "passes, but its file fails", "teardown.test.js", None, "passed", 1, None),
        ("teardown.test.js", "(suite)", "teardown.test.js", None, "error", None, "still open"),
        (FILE, "cart > adds items", FILE, None, "passed", 1, None),
    ]  # fmt: skip


def test_times_of_the_run() -> None:
    run = read_run(TEARDOWN)

    # "startTime": 1795968080212; the last "endTime" is 1795968081175.3398
    assert (run.started_at, run.completed_at) == ("2026-11-29T16:01:20.212Z", "2026-11-29T16:01:21.175Z")
    assert (run.problems, run.failures_missing) == ((), False)
    assert {case.started_at for case in run.cases} == {None}


def test_failed_hook_that_the_report_omits_is_missing() -> None:
    run = read_run(REPORT)

    assert run.failures_missing
    # "numFailedTestSuites": 8. One of the two blocks with a failed hook is explained by the failure of its file.
    assert run.problems == (
        "numFailedTestSuites: the report declares 8, but contains the failures of 6. "
        "The JSON of Vitest omits errors of hooks: write JUnit XML too.",
    )


def test_failures_without_colors_and_values_of_the_test() -> None:
    thrown = read_case(REPORT, "cart > throws a string")
    soft = read_case(REPORT, "two soft failures")

    assert (thrown.message, thrown.details) == ("plain <&> red", "plain <&> red\nsecond line")
    assert soft.details
    assert "\n\nAssertionError: expected 'a' to be 'b' // Object.is equality\n" in soft.details
    # "meta": {"issue": "SHOP-7"}
    assert read_case(REPORT, "cart > totals — Σ > adds items").properties == {"issue": "SHOP-7"}


def test_earlier_attempts_of_a_test_that_passed_are_one_attempt() -> None:
    passed = read_case(REPORT, "passes in the third attempt")
    failed = read_case(REPORT, "always fails")

    assert (passed.status, passed.flaky, passed.attempt_count) == ("passed", True, 2)
    assert passed.attempts[0].message == "Error: attempt 1"
    assert passed.attempts[0].details
    assert "\n\nError: attempt 2\n" in passed.attempts[0].details
    assert (failed.flaky, failed.attempt_count) == (False, 1)


def test_cases_below_the_checkout_equal_those_of_the_junit_xml(tmp_path: Path) -> None:
    """The JUnit XML lists a failed hook as a case, and the error of a file as its name."""
    convert(REPORT, tmp_path / "results", root="/builds/shop")
    (results,) = map(json.loads, (tmp_path / "results").read_bytes().splitlines())
    of_json = {(result["suite"], result["name"]): result["status"] for result in results}
    of_junit = {(case.suite, case.name): case.status for case in read_run(JUNIT).cases}
    files = ("src/broken.test.js", "src/hooks.test.js", "src/teardown.test.js")

    assert dict(of_json.items() - of_junit.items()) == {(file, "(suite)"): "error" for file in files}
    assert dict(of_junit.items() - of_json.items()) == {
        ("src/broken.test.js", "src/broken.test.js"): "failed",
        ("src/teardown.test.js", "src/teardown.test.js"): "failed",
        ("src/cart.test.js", "hooks"): "failed",
        ("src/hooks.test.js", "hooks"): "failed",
    }
