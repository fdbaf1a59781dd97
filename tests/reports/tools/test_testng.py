"""Reports of TestNG 7.11 and 6.9: testng-results.xml, and the JUnit XML of the same executions."""

from pathlib import Path
from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

FOLDER: Final = OWN / "testng"
CART: Final = FOLDER / "cart.xml"
STOCK: Final = FOLDER / "stock.xml"
FLAKY: Final = FOLDER / "flaky.xml"

SUITE: Final = "shop.CartTest"
NOT_FINISHED: Final = "depends on not successfully finished methods"


def test_cases() -> None:
    ships = read_case(CART, "ships").summary
    assert ships
    assert ships.endswith(NOT_FINISHED)
    assert rows_of(CART) == [
        (SUITE, "adds[1, apple]", "passed", 11, None),
        (SUITE, "adds[2, größe <ü>]", "passed", 0, None),
        (SUITE, "adds[3, null]", "failed", 8, "only two fit expected [true] but found [false]"),
        (SUITE, "empties[shop.CartTest$Cart]", "passed", 0, None),
        (SUITE, "empties[shop.CartTest$Cart]", "failed", 0, "expected [ann] but found [bob]"),
        (SUITE, "pays", "passed", 0, None),
        (SUITE, "pays", "passed", 0, None),
        (SUITE, "raises", "failed", 0, "no stock"),
        (SUITE, "subtracts", "failed", 0, "total is wrong expected [3] but found [1]"),
        (SUITE, "assumes", "skipped", 0, "no warehouse"),
        (SUITE, "ships", "skipped", 0, ships),
    ]


def test_failed_case() -> None:
    case = read_case(CART, "subtracts")

    assert (case.file, case.line, case.started_at) == (None, None, "2026-11-29T16:04:03.000Z")
    assert (case.type, case.message) == ("java.lang.AssertionError", "total is wrong expected [3] but found [1]")
    assert (case.details or "").startswith(
        "java.lang.AssertionError: total is wrong expected [3] but found [1]\nat org.testng.Assert.fail(Assert.java:"
    )
    assert "\nat shop.CartTest.subtracts(CartTest.java:31)\n" in (case.details or "")
    assert case.output == {"log.txt": "loading the price list\nprice list is <old>"}


def test_groups_and_description_are_properties() -> None:
    assert read_case(CART, "adds[1, apple]").properties == {
        "description": "adds a number of fruits",
        "groups": "fast\ncart",
    }
    assert read_case(CART, "subtracts").properties == {}


def test_failed_configuration_in_two_tests() -> None:
    unreachable, closed = "the database isn't reachable", "the connection was never open"

    assert rows_of(STOCK) == [
        row
        for test, durations in (("desktop", (6, 2)), ("mobile", (0, 0)))
        for row in (
            (f"{test} > shop.StockTest", "connects", "error", durations[0], unreachable),
            (f"{test} > shop.StockTest", "counts", "skipped", 0, unreachable),
            (f"{test} > shop.StockTest", "orders", "skipped", 0, unreachable),
            (f"{test} > shop.StockTest", "disconnects", "error", durations[1], closed),
        )
    ]


def test_retries_are_attempts_although_the_last_execution_is_listed_before_one_of_them() -> None:
    connects, pays = read_run(FLAKY).cases
    reset = "connection reset by peer expected [true] but found [false]"

    assert (connects.name, connects.status, connects.flaky) == ("connects", "passed", True)
    assert [(attempt.status, attempt.message) for attempt in connects.attempts] == [("failed", reset), ("passed", None)]
    assert (pays.name, pays.status, pays.flaky) == ("pays", "failed", False)
    assert [(attempt.status, attempt.message) for attempt in pays.attempts] == [("failed", "declined")] * 3


def test_older_versions_state_no_retries() -> None:
    assert [(row.name, row.status) for row in rows_of(FOLDER / "flaky-6.xml")] == [
        ("connects", "skipped"),
        ("connects", "passed"),
        ("pays", "skipped"),
        ("pays", "failed"),
        ("pays", "skipped"),
    ]


def test_junit_report_of_testng_has_the_same_cases_without_parameters() -> None:
    junit = [row for row in rows_of(FOLDER / "junit-cart.xml") if row.name != "coupon"]  # isn't in the other report

    # Exceptions that aren't assertions are errors there, but failures in the report of TestNG.
    assert sorted((row.suite, row.name, row.status.replace("error", "failed")) for row in junit) == sorted(
        (row.suite, row.name.partition("[")[0], row.status) for row in rows_of(CART)
    )


def test_junit_report_of_testng_omits_the_test_from_the_suite() -> None:
    junit = rows_of(FOLDER / "junit-stock.xml")

    assert sorted((row.suite, row.name) for row in junit) == sorted(
        (row.suite.partition(" > ")[2], row.name) for row in rows_of(STOCK)
    )


def test_runs(tmp_path: Path) -> None:
    assert run_times(CART, tmp_path) == ("2026-11-29T16:04:03.000Z", "2026-11-29T16:04:03.126Z", 126)
    for report in (CART, STOCK, FLAKY, FOLDER / "flaky-6.xml"):
        assert (read_run(report).problems, read_run(report).failures_missing) == ((), False)
