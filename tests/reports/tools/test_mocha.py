"""Reports of Mocha: mocha-junit-reporter, and the reporter `xunit` of Mocha itself."""

from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

JUNIT: Final = OWN / "mocha" / "junit.xml"
XUNIT: Final = OWN / "mocha" / "xunit.xml"
FILE: Final = "cart.js"
TOTALS: Final = "cart totals — Σ"
THROWN: Final = 'the string "plain <&> red" was thrown, throw an Error :)'
TIMEOUT: Final = (
    'Timeout of 20ms exceeded. For async tests and hooks, ensure "done()" is called; '
    "if returning a Promise, ensure it resolves. ({})"
)
SUMS_DIFFER: Final = "Expected values to be loosely deep-equal: { sum: 3 } should loosely deep-equal { sum: 4 }"
BEFORE_ALL: Final = '"before all" hook: connects for "never runs"'
AFTER_EACH: Final = '"after each" hook for "passes, but its hook fails"'
STACK: Final = (
    "\n    at Context.<anonymous> (test/cart.js:13:51)\n    at process.processImmediate (node:internal/timers:483:21)"
)


def test_cases_of_mocha_junit_reporter() -> None:
    assert outline(JUNIT) == [
        ("Root Suite", "has no suite", None, None, "passed", 0, None),
        ("cart", "cart throws a string", FILE, None, "failed", 0, THROWN),
        ("cart", "cart throws an error with colors", FILE, None, "failed", 0, "line red one line two ]]>"),
        ("cart", "cart throws without a message", FILE, None, "failed", 0, "TypeError"),
        ("cart", "cart times out", FILE, None, "failed", 34, TIMEOUT.format("/builds/mocha11/test/cart.js")),
        ("cart", "cart ", FILE, None, "passed", 0, None),
        ("cart", "cart passes in the second attempt", FILE, None, "passed", 0, None),
        ("totals — Σ", f"{TOTALS} adds items", FILE, None, "passed", 0, None),
        ("totals — Σ", f"{TOTALS} is wrong", FILE, None, "failed", 2, SUMS_DIFFER),
        ("hooks", f"hooks {BEFORE_ALL}", FILE, None, "failed", 20, "no database"),
        ("after each", "after each passes, but its hook fails", FILE, None, "passed", 0, None),
        ("after each", f"after each {AFTER_EACH}", FILE, None, "failed", 0, "still open"),
        ("cart", "cart adds items", "other.js", None, "passed", 0, None),
    ]


def test_run_of_mocha_junit_reporter() -> None:
    run = read_run(JUNIT)

    # timestamp="2026-11-25T18:59:55" without a zone, time="0.120"; the reporter counts pending tests, but omits them.
    assert (run.started_at, run.completed_at) == ("2026-12-31T23:59:59.880Z", None)
    assert run.problems == ("skipped: the report declares 2, but contains 0",)


def test_texts_of_mocha_junit_reporter() -> None:
    case = read_case(JUNIT, "cart throws an error with colors")

    assert (case.type, case.message) == ("Error", "line [31mred[0m one line two ]]>")
    assert case.details == f"Error: line [31mred[0m one\nline two ]]>{STACK}"
    assert (case.output, case.properties, case.flaky, case.attempt_count) == ({}, {}, False, 1)


def test_cases_of_the_reporter_xunit() -> None:
    cart, tests = "Mocha Tests > cart", "Mocha Tests"
    sums = outline(XUNIT)[10][-1]
    assert sums.startswith("Expected values to be loosely deep-equal: sum: 3 should loosely deep-equal sum: 4")
    assert outline(XUNIT) == [
        (tests, "has no suite", FILE, None, "passed", 1, None),
        (cart, "is skipped", FILE, None, "skipped", 0, None),
        (cart, "is pending", FILE, None, "skipped", 0, None),
        (cart, "throws a string", FILE, None, "failed", 0, THROWN),
        (cart, "throws an error with colors", FILE, None, "failed", 0, "line red one"),
        (cart, "throws without a message", FILE, None, "failed", 0, "TypeError"),
        (cart, "times out", FILE, None, "failed", 24, TIMEOUT.format("/builds/mocha/test/cart.js")),
        (tests, "cart", FILE, None, "passed", 0, None),
        (cart, "passes in the second attempt", FILE, None, "passed", 0, None),
        (f"{cart} totals — Σ", "adds items", FILE, None, "passed", 0, None),
        (f"{cart} totals — Σ", "is wrong", FILE, None, "failed", 3, sums),
        ("Mocha Tests > hooks", BEFORE_ALL, FILE, None, "failed", 0, "no database"),
        ("Mocha Tests > after each", "passes, but its hook fails", FILE, None, "passed", 0, None),
        ("Mocha Tests > after each", AFTER_EACH, FILE, None, "failed", 0, "still open"),
        (cart, "adds items", "other.js", None, "passed", 0, None),
    ]


def test_texts_and_times_of_the_reporter_xunit() -> None:
    run = read_run(XUNIT)
    case = read_case(XUNIT, "throws an error with colors")

    # timestamp="Wed, 25 Nov 2026 18:58:13 GMT" time="0.043"
    assert (run.started_at, run.completed_at) == ("2026-11-25T18:58:13.000Z", "2026-11-25T18:58:13.043Z")
    assert (case.type, case.message, case.output) == (None, None, {})
    assert case.details == f"line red one\nline two ]]>\nError: line red one\nline two ]]>{STACK}"
