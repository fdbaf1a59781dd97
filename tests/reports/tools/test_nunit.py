"""Reports of NUnitLite 3.12, pytest-nunit, and Unity in the format of NUnit 3."""

from pathlib import Path
from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import read_case, read_run
from tests.reports.tools.tables import Row, rows_of, run_times

FOLDER: Final = OWN / "nunit"
CART: Final = FOLDER / "cart.xml"
STOCK: Final = FOLDER / "stock.xml"
SETUP: Final = FOLDER / "setup.xml"
PYTEST: Final = FOLDER / "pytest.xml"
UNITY: Final = FOLDER / "unity.xml"

SUITE: Final = "Shop.Tests.CartTests"
CONNECTIONS: Final = "Shop.Tests.Stock.ConnectionTests"
PRICES: Final = "Shop.Tests.Stock.PriceTests"
NO_DATABASE: Final = "System.InvalidOperationException : the database isn't reachable"


def test_cases() -> None:
    assert rows_of(CART) == [
        (SUITE, "Adds", "passed", 8, None),
        (SUITE, "Assumes", "error", 4, "no warehouse Expected: True But was: False"),
        (SUITE, 'Counts(1,"apple")', "passed", 1, None),
        (SUITE, 'Counts(3,"größe <ü>")', "failed", 1, "Expected: less than 3 But was: 3"),
        (SUITE, "Coupon", "skipped", 1, "coupons are switched off"),
        (SUITE, "NotRunnable(1)", "error", 1, "Arguments provided for method with no parameters"),
        (SUITE, "Pays", "skipped", 1, "see SHOP-7"),
        (SUITE, "Raises", "error", 1, "System.InvalidOperationException : no stock"),
        (SUITE, "Retries", "passed", 1, None),
        (SUITE, "Rounds", "failed", 2, read_case(CART, "Rounds").summary),
        (SUITE, "Ships", "skipped", 1, "needs the warehouse"),
        (SUITE, "Subtracts", "failed", 2, "total is wrong Expected: 1 But was: 2"),
        (SUITE, "Warns", "passed", 1, None),
    ]


def test_failed_case() -> None:
    case = read_case(CART, "Subtracts")

    assert (case.file, case.line, case.started_at, case.type) == (None, None, "2026-11-29T15:58:49.000Z", None)
    assert case.message == "total is wrong\n  Expected: 1\n  But was:  2"
    assert case.details == "  at Shop.Tests.CartTests.Subtracts () [0x00030] in /ci/shop/CartTests.cs:17"
    assert case.output == {"stdout.txt": "loading the price list\n"}
    assert case.files == {"the cart.txt": "/ci/shop/cart.txt"}
    assert (case.attempt_count, case.flaky) == (1, False)


def test_several_assertions_are_one_failure() -> None:
    case = read_case(CART, "Rounds")

    assert case.message is not None
    assert case.message.startswith("Multiple failures or warnings in test:\n  1)   Expected: 2\n  But was:  1")
    assert case.message.count("Expected") == 2
    assert case.details == "  at Shop.Tests.CartTests.Rounds () [0x0001e] in /ci/shop/CartTests.cs:24"


def test_properties_and_output_of_a_passed_case() -> None:
    case = read_case(CART, "Adds")

    assert case.properties == {"Category": "fast\nsmoke", "Owner": "ann & bob", "Description": "adds a product"}
    assert case.output == {}


def test_failed_setups_and_teardowns_of_fixtures() -> None:
    assert rows_of(STOCK) == [
        (CONNECTIONS, "Counts", "error", 0, f"OneTimeSetUp: {NO_DATABASE}"),
        (CONNECTIONS, "Orders(1)", "error", 0, f"OneTimeSetUp: {NO_DATABASE}"),
        (CONNECTIONS, "Orders(2)", "error", 0, f"OneTimeSetUp: {NO_DATABASE}"),
        (CONNECTIONS, "(suite)", "error", None, NO_DATABASE),
        ("Shop.Tests.Stock.GenericTests<Int32>", "Holds(1)", "passed", 2, None),
        ("Shop.Tests.Stock.GenericTests<Int32>", "Holds(2)", "passed", 1, None),
        (f'{PRICES}("desktop")', "Shows", "passed", 3, None),
        (
            f'{PRICES}("desktop")',
            "(suite)",
            "error",
            None,
            "TearDown : System.InvalidOperationException : the list can't be closed",
        ),
        (f'{PRICES}("mobile")', "Shows", "failed", 3, read_case(STOCK, "Shows", f'{PRICES}("mobile")').summary),
        ("Shop.Tests.Stock.ShippingTests", "Ships", "skipped", 0, "OneTimeSetUp: no carrier"),
    ]
    fixture = read_case(STOCK, "(suite)", CONNECTIONS)
    assert (fixture.details or "").startswith("  at Shop.Tests.Stock.ConnectionTests.Connect () [0x00010] in /ci/shop/")
    assert read_case(STOCK, "Counts").started_at is None  # start-time="0001-01-01 00:00:00Z"
    assert read_run(STOCK).output == {f"1-{CONNECTIONS}-stdout.txt": "connecting\n"}


def test_failed_setups_and_teardowns_of_namespaces() -> None:
    failed = [row for row in rows_of(SETUP) if row.name == "(suite)"]

    assert failed == [
        Row(
            "Shop.Carts.Session",
            "(suite)",
            "error",
            None,
            "TearDown : System.InvalidOperationException : the session can't be closed",
        ),
        Row(
            "Shop.Orders.Database",
            "(suite)",
            "error",
            None,
            "System.InvalidOperationException : the database can't be started",
        ),
    ]
    assert [(row.name, row.status) for row in rows_of(SETUP) if row.name != "(suite)"] == [
        ("Starts", "passed"),
        ("Cancels", "error"),
        ("Orders", "error"),
    ]


def test_runs(tmp_path: Path) -> None:
    start = "2026-11-29T15:58:49.000Z"
    assert run_times(CART, tmp_path) == (start, start, 33.473)
    # start-time="2026-11-29 16:02:54.009758" without a zone, and duration="0"
    assert run_times(PYTEST, tmp_path) == (None, None, 0)
    assert run_times(UNITY, tmp_path) == ("2026-05-20T12:00:00.000Z", "2026-05-20T12:00:02.000Z", 1_500)
    # total="12" omits the case with a warning.
    for report in (CART, STOCK, SETUP, PYTEST, UNITY):
        assert (read_run(report).problems, read_run(report).failures_missing) == ((), False)


def test_cases_of_pytest_nunit() -> None:
    cart = "tests/test_cart.py::TestCart"

    assert [(row.suite, row.name, row.status) for row in rows_of(PYTEST)] == [
        (cart, "test_adds[1-apple]", "passed"),
        (cart, "test_adds[3-gr\\xf6\\xdfe <\\xfc>]", "failed"),
        (cart, "test_subtracts", "passed"),
        (cart, "test_coupon", "skipped"),
        (cart, "test_rounds", "passed"),
        (cart, "test_closes", "failed"),
        ("tests/test_cart.py", "test_raises", "failed"),
    ]
    assert read_case(PYTEST, "test_coupon").message == "Skipped: coupons are switched off"
    assert read_case(PYTEST, "test_raises").details == "/ci/stock/tests/test_cart.py:36: ValueError: no stock"
    closes = read_case(PYTEST, "test_closes")  # an empty message, and the stack trace "None"
    assert (closes.message, closes.details) == (None, None)
    subtracts = read_case(PYTEST, "test_subtracts")
    assert subtracts.properties["issue"] == "SHOP-7"
    assert subtracts.files == {"the cart.png": "/ci/stock/screens/cart.png"}


def test_cases_of_unity() -> None:
    suite = "Shop.CartTests"
    unhandled = "Unhandled log message: '[Error] no stock'. Use UnityEngine.TestTools.LogAssert.Expect"
    null = "SetUp : System.NullReferenceException : Object reference not set to an instance of an object"

    assert rows_of(UNITY) == [
        (suite, "AddsProduct", "passed", 34, None),
        (suite, 'LoadsScene("Assets/Scenes/Cart.unity")', "passed", 250, None),
        (suite, 'LoadsScene("Assets/Scenes/Stock.unity")', "failed", 250, unhandled),
        (suite, "AppliesCoupon", "skipped", 1, "coupons are switched off"),
        ("Shop.StockTests", "Counts", "error", 500, null),
    ]
    assert read_case(UNITY, "AddsProduct").properties == {}
    case = read_case(UNITY, 'LoadsScene("Assets/Scenes/Stock.unity")')
    assert case.output == {"stdout.txt": "Scene Stock is loaded\n"}
    assert read_run(UNITY).output == {
        f"1-{suite}-stdout.txt": "The referenced script of the game object 'Cart' is missing!\n"
    }
