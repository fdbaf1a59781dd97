"""Reports of xUnit.net 2.1, of its version 3, and of mocha-xunit-reporter."""

from pathlib import Path
from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

FOLDER: Final = OWN / "xunit"
ORDERS: Final = FOLDER / "orders.xml"
STOCK: Final = FOLDER / "stock.xml"
VERSION_3: Final = FOLDER / "v3.xml"
MOCHA: Final = FOLDER / "mocha.xml"

SUITE: Final = "Shop.Tests.OrderTests"


def test_cases() -> None:
    no_instance = "Cannot create an instance of Shop.Tests.GenericTests`1[T] because Type.ContainsGenericParameters"
    generic = f"System.ArgumentException : {no_instance} is true."

    assert rows_of(ORDERS) == [
        ("Shop.Tests.IntTests", "Holds", "passed", 1, None),
        ("Shop.Tests.GenericTests`1", "Holds", "failed", 0, generic),
        (SUITE, "pays with a card", "passed", 1, None),
        (SUITE, 'Counts(count: 1, fruit: "apple")', "passed", 1, None),
        (SUITE, 'Counts(count: 3, fruit: "größe <ü>")', "failed", 4, "Assert.InRange() Failure Actual: 3"),
        (SUITE, "Subtracts", "failed", 4, "Assert.Equal() Failure Expected: 1 Actual: 2"),
        (SUITE, "Coupon", "skipped", 0, "coupons are switched off"),
        (SUITE, "Raises", "failed", 1, "System.InvalidOperationException : no stock"),
        (SUITE, "Adds", "passed", 1, None),
    ]


def test_failed_case() -> None:
    case = read_case(ORDERS, "Subtracts")

    assert (case.file, case.line, case.started_at) == (None, None, None)
    assert (case.type, case.message) == (
        "Xunit.Sdk.EqualException", "Assert.Equal() Failure\nExpected: 1\nActual:   2",
    )  # fmt: skip
    assert (case.details or "").startswith(
        "  at Shop.Tests.OrderTests.Subtracts () [0x00023] in /ci/orders/OrderTests.cs:21 \n"
    )
    assert case.output == {"stdout.txt": "loading the price list\nprice list is <old>\n"}
    assert read_case(ORDERS, "Adds").properties == {"Category": "fast\nsmoke", "Owner": "ann & bob"}


def test_version_1_of_the_format_has_the_same_cases() -> None:
    version_1 = rows_of(FOLDER / "orders-v1.xml")

    assert sorted(row[:3] for row in version_1) == sorted(row[:3] for row in rows_of(ORDERS))
    assert {row[:2]: row.summary for row in version_1} == {row[:2]: row.summary for row in rows_of(ORDERS)}


def test_errors_of_cleanups_are_separate_results() -> None:
    connections = "Shop.Tests.Stock.ConnectionTests"
    closed = "System.InvalidOperationException : the database can't be closed"
    unreachable = "System.InvalidOperationException : the server isn't reachable"

    assert rows_of(STOCK) == [
        ("carriers", "(suite)", "error", None, "System.TimeoutException : the carrier didn't answer"),
        (connections, "(suite)", "error", None, closed),
        (connections, "Orders", "failed", 2, "nothing to order Expected: True Actual: False"),
        (connections, "Counts", "passed", 1, None),
        ("Shop.Tests.Stock.PriceTests", "Shows", "failed", 0, unreachable),
        ("Shop.Tests.Stock.ShippingTests", "Ships", "passed", 1, None),
    ]
    cleanup = read_case(STOCK, "(suite)", "carriers")
    assert cleanup.properties == {"error-type": "test-collection-cleanup"}
    assert cleanup.details == "  at Shop.Tests.Stock.CarrierFixture.Dispose () [0x00006] in /ci/orders/StockTests.cs:19"


def test_cases_of_version_3() -> None:
    suite = "Shop.Tests.CartTests"
    differ = 'Assert.Equal() Failure: Strings differ Expected: "a\\b" Actual: "a"'

    assert rows_of(VERSION_3) == [
        ("Shop.Tests.dll", "(suite)", "error", None, "System.TimeoutException : the server didn't stop"),
        (suite, 'Adds(count: 1, fruit: "apple")', "passed", 12, None),
        (suite, 'Adds(count: 3, fruit: "größe <ü>\\n")', "failed", 2_200, differ),
        (suite, "pays with a card", "passed", 0, None),
        (suite, "Coupon", "skipped", 0, 'coupons are "off"'),
        (suite, "Ships", "skipped", 0, None),
    ]
    case = read_case(VERSION_3, 'Adds(count: 3, fruit: "größe <ü>\\n")')
    assert (case.file, case.line, case.started_at) == ("CartTests.cs", 8, "2026-05-20T12:00:00.520Z")
    assert case.message == 'Assert.Equal() Failure: Strings differ\nExpected: "a\\b"\nActual:   "a"'
    assert case.output == {"stdout.txt": "adding 3\n", "warnings.txt": "the price list is old"}
    assert (case.files, list(case.embedded)) == ({}, ["prices.txt", "cart.png"])
    prices, cart = case.embedded.values()
    assert (prices.content, cart.content, cart.content_type) == (b"1 apple", b"\x89PNG\r\n\x1a\n", "image/png")
    assert read_case(VERSION_3, 'Adds(count: 1, fruit: "apple")').properties == {
        "Category": "fast",
        "Path": "C:\\carts",
    }


def test_cases_of_mocha_xunit_reporter() -> None:
    assert rows_of(MOCHA) == [
        ("Cart", "Cart adds a product", "passed", 0, None),
        ("Cart", "Cart totals 90", "failed", 1, "total is wrong"),
        ("Cart", "Cart applies a coupon", "skipped", 0, None),
        ("shipping", "Cart shipping ships größe <ü>", "passed", 0, None),
        ("shipping", "Cart shipping ships abroad", "failed", 0, "no carrier"),
        ("Stock", 'Stock "before all" hook for "counts"', "failed", 0, "the database isn't reachable"),
    ]
    assert read_case(MOCHA, "Cart totals 90").type == "AssertionError"


def test_runs(tmp_path: Path) -> None:
    # run-date="2026-11-29" run-time="…" without a zone
    assert run_times(ORDERS, tmp_path) == (None, None, 78)
    assert run_times(VERSION_3, tmp_path) == ("2026-05-20T12:00:00.250Z", "2026-05-20T12:00:02.750Z", 2_250)
    for report in (ORDERS, STOCK, VERSION_3, MOCHA):
        assert (read_run(report).problems, read_run(report).failures_missing) == ((), False)
