"""JSON reports of Jest 29 and 30, compared with jest-junit and jest-ctrf-json-reporter in the same run."""

import json
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from service.reports.conversion.convert import convert
from tests.reports.conversions import convert_all
from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

JEST_29: Final = OWN / "jest" / "jest-29.json"
JEST_30: Final = OWN / "jest" / "jest-30.json"
JUNIT: Final = OWN / "jest" / "jest-30-junit.xml"
CTRF: Final = OWN / "jest" / "jest-30-ctrf.json"
COLOR: Final = OWN / "jest" / "jest-30-color.json"
FILE: Final = "cart.test.js"
CART: Final = "cart.test.js > cart"
TOTALS: Final = "cart.test.js > cart > totals — Σ"
EQUALITY: Final = "Error: expect(received).toBe(expected) // Object.is equality Expected: 3 Received: 2"
TIMEOUT: Final = 'Error: thrown: "Exceeded timeout of 20 ms for a test while waiting for `done()` to be called.'
NO_MODULE: Final = "Cannot find module './missing-module' from 'src/broken.test.js'"


def test_cases_of_jest_29() -> None:
    assert outline(JEST_29) == [
        (TOTALS, "cart totals — Σ adds items", FILE, None, "passed", 27, None),
        (TOTALS, "cart totals — Σ is wrong", FILE, 6, "failed", 24,
         "Error: expect(received).toEqual(expected) // deep equality"),
        (TOTALS, "cart totals — Σ parametrized 1 = 1", FILE, None, "passed", 0, None),
        (TOTALS, "cart totals — Σ parametrized 2 = 3", FILE, 7, "failed", 1, EQUALITY),
        (CART, "cart is skipped", FILE, 9, "skipped", None, None),
        (CART, "cart is planned", FILE, 10, "skipped", None, None),
        (CART, "cart throws a string", FILE, None, "failed", 0, 'Error: thrown: "plain <&> red'),
        (CART, "cart times out", FILE, None, "failed", 26, TIMEOUT),
        (CART, "cart", FILE, None, "passed", 0, None),
        (CART, "cart known defect", FILE, None, "passed", 0, None),  # test.failing
        ("cart.test.js > hooks", "hooks first", FILE, 18, "failed", 0, "Error: no database"),
        (FILE, "ordinary", FILE, None, "passed", 0, None),
        ("retries.test.js", "passes in the third attempt", "retries.test.js", 3, "passed", 0, None),
        ("retries.test.js", "always fails", "retries.test.js", 4, "failed", 0, "Error: always"),
        ("mixed.test.js", "fails, and its file fails too", "mixed.test.js", 2, "failed", 1, "Error: no stock"),
        ("mixed.test.js", "(suite)", "mixed.test.js", None, "error", None, "not closed"),
        ("teardown.test.js", "passes, but its file fails", "teardown.test.js", None, "passed", 0, None),
        ("teardown.test.js", "(suite)", "teardown.test.js", None, "error", None, "still open"),
        ("broken.test.js", "(suite)", "broken.test.js", None, "error", None, NO_MODULE),
        (CART, "cart adds items", FILE, None, "passed", 1, None),
        ("counted.test.js", "passes in the third attempt", "counted.test.js", 3, "passed", 0, None),
    ]  # fmt: skip


def test_run_has_the_counts_and_the_times_of_the_report(tmp_path: Path) -> None:
    run = read_run(JEST_29)
    summary, _ = convert_all(JEST_29, tmp_path)

    assert (summary.format, run.problems, run.failures_missing) == ("jest", (), False)
    assert summary.declared == {"tests": 18, "failures": 7, "errors": 3, "skipped": 2}
    # "startTime": 1795968057566; the latest "endTime" is 1795968059714
    assert (run.started_at, run.completed_at) == ("2026-11-29T16:00:57.566Z", "2026-11-29T16:00:59.714Z")


def test_files_of_equal_name_are_distinct_below_the_checkout_also_in_ctrf(tmp_path: Path) -> None:
    def cases_of(report: Path) -> list[tuple[str, ...]]:
        convert(report, tmp_path / "results", root="/builds/shop")
        chunks = (tmp_path / "results").read_bytes().splitlines()
        return [(each["suite"], each["name"], each["file"]) for chunk in chunks for each in json.loads(chunk)]

    cases = cases_of(JEST_30)

    assert len(set(cases)) == len(cases)
    assert ("src/admin/cart.test.js > cart", "cart adds items", "src/admin/cart.test.js") in cases
    assert ("src/broken.test.js", "(suite)", "src/broken.test.js") in cases
    assert ("src/cart.test.js > cart", "cart is skipped", "src/cart.test.js") in cases
    assert set(cases_of(CTRF)) == {case for case in cases if case[1] != "(suite)"}


def test_texts_of_a_failed_case() -> None:
    case = read_case(JEST_30, "cart totals — Σ is wrong")

    assert (case.type, case.message) == (None, "Error: expect(received).toEqual(expected) // deep equality")
    assert case.details
    assert case.details.startswith(
        f"{case.message}\n\n- Expected  - 1\n+ Received  + 1\n\n"
        '  Object {\n    "list": Array [\n      1,\n    ],\n-   "sum": 4,\n+   "sum": 3,\n  }\n'
        "    at Object.toEqual (/builds/shop/src/cart.test.js:6:58)\n"
    )
    assert (case.output, case.properties, case.flaky, case.attempt_count) == ({}, {}, False, 1)


def test_starts_of_tests_are_stated_since_jest_30() -> None:
    assert {case.started_at for case in read_run(JEST_29).cases} == {None}
    # "startAt": 1795968067072
    assert read_case(JEST_30, "cart adds items").started_at == "2026-11-29T16:01:07.072Z"


def test_errors_of_a_file_contain_no_failures_of_its_tests() -> None:
    case = read_case(JEST_29, "(suite)", "mixed.test.js")

    assert case.message == "not closed"
    assert case.details
    assert case.details.startswith("not closed\n\n> 1 | afterAll(() => { throw new Error(")
    assert "Error: no stock" not in case.details


@pytest.mark.parametrize("report", [JEST_29, JEST_30, COLOR], ids=["29", "30", "color"])
def test_attempts_with_log_errors_before_retry(report: Path) -> None:
    passed = read_case(report, "passes in the third attempt", "retries.test.js")
    failed = read_case(report, "always fails")

    assert (passed.status, passed.flaky, passed.attempt_count) == ("passed", True, 3)
    assert [(attempt.status, attempt.message) for attempt in passed.attempts] == [
        ("failed", "Error: attempt 1"), ("failed", "Error: attempt 2"), ("passed", None),
    ]  # fmt: skip
    assert (failed.status, failed.flaky, failed.attempt_count) == ("failed", False, 3)
    assert [attempt.message for attempt in failed.attempts] == ["Error: always"] * 3


def test_attempts_that_are_only_counted() -> None:
    case = read_case(JEST_30, "passes in the third attempt", "counted.test.js")

    assert (case.status, case.flaky, case.attempt_count) == ("passed", True, 3)
    assert [(attempt.status, attempt.message) for attempt in case.attempts] == [("failed", None), ("passed", None)]


def test_cases_equal_those_of_jest_ctrf() -> None:
    of_ctrf = {case.key: (case.status, case.summary, case.attempt_count) for case in read_run(CTRF).cases}
    cases = read_run(JEST_30).cases

    assert {case.key: (case.status, case.summary, case.attempt_count) for case in cases if case.status != "error"} == (
        of_ctrf
    )
    assert [case.name for case in cases if case.key not in of_ctrf] == ["(suite)"] * 3  # jest-ctrf omits them


def test_names_and_statuses_equal_those_of_jest_junit() -> None:
    """The suites differ: jest-junit writes the title of the first test in the file, and the JSON only absolute files.

    jest-junit writes a leading space without a title, todos as passed, and the error of a file as a case.
    """
    of_junit = Counter((case.name.lstrip(), case.status) for case in read_run(JUNIT).cases)
    of_json = Counter((case.name, case.status) for case in read_run(JEST_30).cases)
    exec_error = "Test execution failure: could be caused by test hooks like 'afterAll'."

    assert of_json - of_junit == {("cart is planned", "skipped"): 1, ("(suite)", "error"): 3}
    assert of_junit - of_json == {
        ("cart is planned", "passed"): 1,
        (exec_error, "failed"): 2,
        ("src/broken.test.js", "error"): 1,
        ("src/broken.test.js", "failed"): 1,
    }
