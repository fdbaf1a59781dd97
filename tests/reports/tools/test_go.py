"""Reports of go-junit-report 2.1, gotestsum 1.8.2, and `go test -json` of Go 1.24 for the same module."""

from pathlib import Path

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

JUNIT_REPORT = OWN / "go" / "go-junit-report.xml"
GOTESTSUM = OWN / "go" / "gotestsum.xml"
RERUNS = OWN / "go" / "gotestsum-rerun-fails.xml"
EVENTS = OWN / "go" / "go-test-subtests.jsonl"

BROKEN, CART, SHIP = (f"example.com/shop/{package}" for package in ("broken", "cart", "ship"))
COMPILER = "broken/broken_test.go:5:34: undefined: missing"
PANIC = "panic: assignment to entry in nil map [recovered]"


def test_cases_of_go_junit_report() -> None:
    assert rows_of(JUNIT_REPORT) == [
        (BROKEN, "[build failed]", "error", 0, COMPILER),
        (CART, "TestAdd", "passed", 0, None),
        (CART, "TestTotals", "failed", 0, "loading the price list"),
        (CART, "TestTotals/empty", "passed", 0, None),
        (CART, "TestTotals/two_items", "failed", 0, "cart_test.go:17: items: 2 expected: 3 got: 0"),
        (CART, "TestTotals/größe/大", "failed", 0, "cart_test.go:21: größe <ü> & 大"),
        (CART, "TestTotals/#00", "passed", 0, None),
        (CART, "TestCoupon", "skipped", 0, "cart_test.go:25: coupons are switched off"),
        (CART, "TestSetupTeardown", "failed", 0, "cart_test.go:28: the cart was not emptied"),
        (CART, "TestSetupTeardown/uses_cart", "passed", 0, None),
        (CART, "TestFlaky", "failed", 0, "cart_test.go:37: connection reset by peer"),
        (SHIP, "TestRates", "passed", 0, None),
        (SHIP, "TestLabel", "failed", 0, "Failed"),
    ]


def test_texts_of_go_junit_report() -> None:
    case = read_case(JUNIT_REPORT, "TestTotals/two_items")

    assert (case.type, case.message, case.file, case.line, case.started_at) == (None, "Failed", None, None, None)
    assert case.details == (
        "cart_test.go:17: items: 2\n    cart_test.go:18: \ufffd[31mtotal is 0, not 3\ufffd[0m\n"
        "        expected: 3\n             got: 0\n    cart_test.go:19: tax is missing"
    )
    assert (case.output, case.properties, case.attempt_count) == ({}, {}, 1)


def test_panic_is_in_the_output_of_the_package_in_go_junit_report() -> None:
    (output,) = read_run(JUNIT_REPORT).output.items()

    assert (output[0], read_case(JUNIT_REPORT, "TestLabel").output) == ("1-example.com/shop/ship-system-out.txt", {})
    assert output[1].startswith(f"{PANIC}\n\tpanic: assignment to entry in nil map\n\ngoroutine 4 [running]:\n")


@pytest.mark.parametrize(
    ("report", "start", "end", "duration_ms"),
    [
        (JUNIT_REPORT, "19:00:37.000", "19:00:40.011", 3_011),  # the latest suite starts at 19:00:40 and takes 0.011 s
        (GOTESTSUM, "19:00:48.000", "19:00:49.722", 1_722.876),
        (RERUNS, "19:00:43.000", "19:00:47.770", 4_770.98),
        (EVENTS, "19:00:41.593", "19:00:43.089", None),
    ],
    ids=["go-junit-report", "gotestsum", "reruns", "go test -json"],
)
def test_times_of_the_run(report: Path, start: str, end: str, duration_ms: float | None, tmp_path: Path) -> None:
    assert run_times(report, tmp_path) == (f"2026-11-25T{start}Z", f"2026-11-25T{end}Z", duration_ms)
    assert read_run(report).problems == ()


def test_cases_of_gotestsum() -> None:
    assert rows_of(GOTESTSUM) == [
        (BROKEN, "TestMain", "failed", 0, "FAIL example.com/shop/broken [build failed]"),
        (SHIP, "TestLabel", "failed", 0, PANIC),
        (SHIP, "TestRates", "passed", 0, None),
    ]
    details = read_case(GOTESTSUM, "TestLabel").details or ""
    assert details.startswith(f"=== RUN   TestLabel\n--- FAIL: TestLabel (0.00s)\n{PANIC}\n")
    assert "\texample.com/shop/ship/ship_test.go:11 +0x28\n" in details


def test_cases_of_gotestsum_with_reruns() -> None:
    assert rows_of(RERUNS) == [
        (CART, "TestTotals/two_items", "failed", 0, "cart_test.go:17: items: 2 expected: 3 got: 0"),
        (CART, "TestTotals/größe/大", "failed", 0, "cart_test.go:21: größe <ü> & 大"),
        (CART, "TestTotals", "failed", 0, "loading the price list"),
        (CART, "TestSetupTeardown", "failed", 0, "cart_test.go:28: the cart was not emptied"),
        (CART, "TestFlaky", "passed", 0, None),
        (CART, "TestCoupon", "skipped", 0, "cart_test.go:25: coupons are switched off"),
        (CART, "TestAdd", "passed", 0, None),
        (CART, "TestTotals/empty", "passed", 0, None),
        (CART, "TestTotals/#00", "passed", 0, None),
        (CART, "TestSetupTeardown/uses_cart", "passed", 0, None),
    ]


def test_reruns_of_gotestsum_are_attempts() -> None:
    flaky = read_case(RERUNS, "TestFlaky")
    failed = read_case(RERUNS, "TestTotals/two_items")

    assert (flaky.flaky, [attempt.status for attempt in flaky.attempts]) == (True, ["failed", "passed"])
    assert flaky.attempts[0].details == (
        "=== RUN   TestFlaky\n    cart_test.go:37: connection reset by peer\n--- FAIL: TestFlaky (0.00s)"
    )
    assert (failed.flaky, [attempt.status for attempt in failed.attempts]) == (False, ["failed", "failed"])
    assert (failed.type, failed.message, failed.properties) == (None, "Failed", {})


def test_cases_of_go_test_json() -> None:
    assert rows_of(EVENTS) == [
        (BROKEN, "(suite)", "error", None, COMPILER),
        (CART, "TestAdd", "passed", 0, None),
        (CART, "TestTotals/empty", "passed", 0, None),
        (CART, "TestTotals/two_items", "failed", 0, "cart_test.go:17: items: 2 expected: 3 got: 0"),
        (CART, "TestTotals/größe/大", "failed", 0, "cart_test.go:21: größe <ü> & 大"),
        (CART, "TestTotals/#00", "passed", 0, None),
        (CART, "TestTotals", "failed", 0, "loading the price list"),
        (CART, "TestCoupon", "skipped", 0, "cart_test.go:25: coupons are switched off"),
        (CART, "TestSetupTeardown/uses_cart", "passed", 0, None),
        (CART, "TestSetupTeardown", "failed", 0, "cart_test.go:28: the cart was not emptied"),
        (CART, "TestFlaky", "failed", 0, "cart_test.go:37: connection reset by peer"),
        (SHIP, "TestRates", "passed", 0, None),
        (SHIP, "TestLabel", "failed", 0, PANIC),
    ]


def test_texts_of_go_test_json() -> None:
    case = read_case(EVENTS, "TestTotals/two_items")

    assert (case.file, case.line, case.type, case.message) == (None, None, None, None)
    assert case.started_at == "2026-11-25T19:00:42.969Z"
    assert case.details == (
        "    cart_test.go:17: items: 2\n    cart_test.go:18: \x1b[31mtotal is 0, not 3\x1b[0m\n"
        "        expected: 3\n             got: 0\n    cart_test.go:19: tax is missing\n"
        "--- FAIL: TestTotals/two_items (0.00s)"
    )
    assert case.output == {"output.txt": f"{case.details}\n"}
    assert "\tpanic: assignment to entry in nil map\n" in (read_case(EVENTS, "TestLabel").details or "")
