"""Reports of Vitest (`--reporter=junit`)."""

from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "vitest" / "junit.xml"
BROKEN: Final = "src/broken.test.js"
CART: Final = "src/cart.test.js"
NO_MODULE: Final = "Cannot find module './missing-module.js' imported from '/builds/vitest/src/broken.test.js'"
TIMEOUT: Final = (
    "Test timed out in 20ms. If this is a long-running test, pass a timeout value as the last argument "
    'or configure it globally with "testTimeout".'
)
SUMS_DIFFER: Final = "expected { sum: 3, list: [ 1 ] } to deeply equal { sum: 4, list: [ 1 ] }"


def test_cases() -> None:
    assert outline(REPORT) == [
        (BROKEN, BROKEN, BROKEN, None, "failed", 0, NO_MODULE),
        (CART, "cart > totals — Σ > adds items", CART, None, "passed", 1, None),
        (CART, "cart > totals — Σ > is wrong", CART, None, "failed", 9, SUMS_DIFFER),
        (CART, "cart > totals — Σ > parametrized 1 = 1", CART, None, "passed", 1, None),
        (CART, "cart > totals — Σ > parametrized 2 = 3", CART, None, "failed", 1,
         "expected 2 to be 3 // Object.is equality"),
        (CART, "cart > is skipped", CART, None, "skipped", 0, None),
        (CART, "cart > is skipped with a reason", CART, None, "skipped", 1, None),
        (CART, "cart > is planned", CART, None, "skipped", 0, None),
        (CART, "cart > throws a string", CART, None, "failed", 1, "plain <&> red second line"),
        (CART, "cart > times out", CART, None, "failed", 22, TIMEOUT),
        (CART, "cart > ", CART, None, "passed", 1, None),
        (CART, "cart > expected failure", CART, None, "passed", 1, None),
        (CART, "cart > was fixed", CART, None, "failed", 1, "Expect test to fail"),
        (CART, "hooks > first", CART, None, "skipped", 0, None),
        (CART, "after each > passes, but its hook fails", CART, None, "failed", 1, "still open"),
        (CART, "passes in the third attempt", CART, None, "passed", 1, None),
        (CART, "always fails", CART, None, "failed", 1, "always"),
        (CART, "two soft failures", CART, None, "failed", 2, "expected 1 to be 2 // Object.is equality"),
        (CART, "hooks", CART, None, "failed", 1, "no database"),
    ]  # fmt: skip


def test_times_of_the_run() -> None:
    run = read_run(REPORT)

    # The first suite starts at 18:57:08.365Z, and the last one at 18:57:08.376Z; the root states 0.039179654 s.
    assert (run.started_at, run.completed_at) == ("2026-11-25T18:57:08.365Z", "2026-11-25T18:57:08.404Z")
    assert (run.problems, {case.started_at for case in run.cases}) == ((), {None})


def test_texts_and_output_of_a_failed_case() -> None:
    case = read_case(REPORT, "cart > totals — Σ > is wrong")

    assert (case.type, case.message) == ("AssertionError", SUMS_DIFFER)
    assert case.details == (
        f"AssertionError: {SUMS_DIFFER}\n\n- Expected\n+ Received\n\n"
        '  {\n    "list": [\n      1,\n    ],\n-   "sum": 4,\n+   "sum": 3,\n  }'
    )
    assert case.output == {
        "system-out.txt": "\nto stdout [31mred[0m\n\n            ",
        "system-err.txt": "\nto stderr\n\n            ",
    }
    assert (case.properties, case.flaky, case.attempt_count) == ({}, False, 1)


def test_all_failures_of_a_case_are_in_its_details() -> None:
    case = read_case(REPORT, "two soft failures")

    assert case.details
    assert case.details.startswith("AssertionError: expected 1 to be 2 // Object.is equality\n\n- Expected")
    assert case.details.endswith("expected 'a' to be 'b' // Object.is equality\n\nExpected: \"b\"\nReceived: \"a\"")


def test_retries_are_only_visible_in_the_details() -> None:
    passed = read_case(REPORT, "passes in the third attempt")
    failed = read_case(REPORT, "always fails")

    assert (passed.flaky, passed.attempt_count) == (False, 1)
    assert (failed.attempt_count, failed.details) == (1, "Error: always\n\nError: always")
