"""Reports of mochawesome and mochawesome-merge, compared with mocha-junit-reporter for the same tests."""

from pathlib import Path
from typing import Final

import pytest

from service.reports.conversion.convert import convert
from tests.reports.conversions import convert_all
from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "mocha" / "mochawesome.json"
JUNIT: Final = OWN / "mocha" / "mochawesome-junit.xml"
ROOT_HOOK: Final = OWN / "mocha" / "mochawesome-root-hook.json"
ROOT_HOOK_JUNIT: Final = OWN / "mocha" / "mochawesome-root-hook-junit.xml"
MERGED: Final = OWN / "mocha" / "mochawesome-merged.json"
FILE: Final = "test/cart.js"
TOTALS: Final = "totals — Σ"
THROWN: Final = 'the string "plain <&> red" was thrown, throw an Error :)'
TIMEOUT: Final = (
    'Timeout of 20ms exceeded. For async tests and hooks, ensure "done()" is called; '
    "if returning a Promise, ensure it resolves. (/builds/shop/test/cart.js)"
)
SUMS_DIFFER: Final = "Expected values to be loosely deep-equal: sum: 3 should loosely deep-equal sum: 4"
BEFORE_ALL: Final = '"before all" hook: connects for "never runs"'
AFTER_EACH: Final = '"after each" hook for "passes, but its hook fails"'
AFTER_ALL: Final = '"after all" hook for "passes"'
BEFORE_EACH: Final = '"before each" hook: signs in for "has no suite"'


def test_cases() -> None:
    assert outline(REPORT) == [
        ("Root Suite", "has no suite", None, None, "passed", 0, None),
        ("cart", "cart is skipped", FILE, None, "skipped", 0, None),
        ("cart", "cart is pending", FILE, None, "skipped", 0, None),
        ("cart", "cart is skipped at run time", FILE, None, "skipped", 0, None),
        ("cart", "cart throws a string", FILE, None, "failed", 0, THROWN),
        ("cart", "cart throws an error with colors", FILE, None, "failed", 0, "line red one"),
        ("cart", "cart throws without a message", FILE, None, "failed", 0, "TypeError"),
        ("cart", "cart times out", FILE, None, "failed", 24, TIMEOUT),
        ("cart", "cart ", FILE, None, "passed", 0, None),
        ("cart", "cart passes in the second attempt", FILE, None, "passed", 0, None),
        (TOTALS, f"cart {TOTALS} adds items", FILE, None, "passed", 0, None),
        (TOTALS, f"cart {TOTALS} is wrong", FILE, None, "failed", 6, SUMS_DIFFER),
        ("hooks", f"hooks {BEFORE_ALL}", FILE, None, "failed", 0, "no database"),
        ("hooks", "hooks never runs", FILE, None, "skipped", 0, None),
        ("nested", "hooks nested never runs either", FILE, None, "skipped", 0, None),
        ("after each", f"after each {AFTER_EACH}", FILE, None, "failed", 0, "still open"),
        ("after each", "after each passes, but its hook fails", FILE, None, "passed", 0, None),
        ("after each", "after each isn't executed", FILE, None, "skipped", 0, None),
        ("after all", f"after all {AFTER_ALL}", FILE, None, "failed", 0, "not closed"),
        ("after all", "after all passes", FILE, None, "passed", 0, None),
        ("cart", "cart adds items", "test/sub/other.js", None, "passed", 0, None),
    ]


def test_run_has_the_counts_and_the_times_of_the_report(tmp_path: Path) -> None:
    run = read_run(REPORT)
    summary, _ = convert_all(REPORT, tmp_path)

    # "testsRegistered": 18, "failures": 5, "other": 3, "pending": 3, "skipped": 3
    assert summary.declared == {"tests": 18, "failures": 8, "skipped": 6}
    assert (summary.format, summary.times[0].duration_ms, run.problems) == ("mochawesome", 59, ())
    # "start": "2026-11-29T16:01:24.834Z", "end": "2026-11-29T16:01:24.893Z"
    assert (run.started_at, run.completed_at) == ("2026-11-29T16:01:24.834Z", "2026-11-29T16:01:24.893Z")


def test_texts_of_a_failed_case() -> None:
    case = read_case(REPORT, f"cart {TOTALS} is wrong")

    message = (
        "Expected values to be loosely deep-equal:\n\n{\n  sum: 3\n}\n\nshould loosely deep-equal\n\n{\n  sum: 4\n}"
    )
    assert (case.type, case.message) == ("AssertionError", message)
    assert case.details == (
        f"AssertionError [ERR_ASSERTION]: {message}\n    at Context.<anonymous> (test/cart.js:12:14)\n"
        '    at process.processImmediate (node:internal/timers:483:21)\n\n {\n-   "sum": 3\n+   "sum": 4\n }\n'
    )
    assert (case.output, case.flaky, case.attempt_count) == ({}, False, 1)


def test_context_is_files_and_properties() -> None:
    failed, passed = (read_case(REPORT, f"cart {TOTALS} {title}") for title in ("is wrong", "adds items"))

    assert failed.files == {
        "total.mp4": "https://ci.example/videos/total.mp4", "screenshot.png": "./screenshots/total.png",
    }  # fmt: skip
    assert failed.properties == {"basket": '{"items": [1, 2], "sum": 3}'}
    assert (passed.files, passed.properties) == ({}, {"context": "SHOP-7"})


def test_files_are_relative_to_the_checkout_which_does_not_change_the_case(tmp_path: Path) -> None:
    convert(REPORT, tmp_path / "results", root="/builds")

    assert '"name":"cart adds items","status":"passed","file":"shop/test/sub/other.js"' in (
        (tmp_path / "results").read_text("utf-8")
    )


def test_cases_of_merged_reports() -> None:
    assert outline(MERGED) == [
        ("Root Suite", BEFORE_EACH, "session.js", None, "failed", 0, "no session"),
        ("Root Suite", "has no suite", "session.js", None, "skipped", 0, None),
        ("prices", "prices differ", "session/prices.js", None, "failed", 1, "'12 EUR' == '13 EUR'"),
        ("cart", "cart adds items", "test/sub/other.js", None, "passed", 0, None),
    ]
    assert (read_run(MERGED).problems, read_run(MERGED).failures_missing) == ((), False)


@pytest.mark.parametrize(("report", "junit"), [(REPORT, JUNIT), (ROOT_HOOK, ROOT_HOOK_JUNIT)], ids=["all", "root hook"])
def test_cases_equal_those_of_mocha_junit_reporter(report: Path, junit: Path) -> None:
    """The reporter omits skipped tests, and writes a message with several lines in one line."""
    of_junit = {case.key: (case.status, case.type) for case in read_run(junit).cases}
    cases = [case for case in read_run(report).cases if case.status != "skipped"]

    assert {case.key: (case.status, case.type) for case in cases} == of_junit
    assert len(cases) == len(read_run(junit).cases)
