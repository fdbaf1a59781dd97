"""Reports of Maven Surefire 2.22.3 for JUnit 4 with `rerunFailingTestsCount`."""

from pathlib import Path

import pytest

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

FOLDER = OWN / "surefire"
CART = FOLDER / "surefire-cart.xml"
FLAKY = FOLDER / "surefire-flaky.xml"


def test_cases() -> None:
    assert rows_of(CART) == [
        ("shop.CartTest", "coupon", "skipped", 0, "coupons are switched off"),
        ("shop.CartTest", "raises", "error", 0, "no stock"),
        ("shop.CartTest", "assumes", "skipped", 0, "no warehouse"),
        ("shop.CartTest", "failsThenErrs", "failed", 0, "total is 1"),
        ("shop.CartTest", "adds", "passed", 0, None),
        ("shop.CartTest", "größe_大", "failed", 0, "größe <ü> & 大"),
        ("shop.CartTest", "subtracts", "failed", 0, "total is wrong"),
    ]


def test_failed_case() -> None:
    case = read_case(CART, "subtracts")

    assert (case.file, case.line, case.started_at, case.properties) == (None, None, None, {})
    assert case.type == "java.lang.AssertionError"
    assert case.message == "&#27;[31mtotal is wrong&#27;[0m\nsecond line expected:<3> but was:<1>"
    assert case.details == (
        "java.lang.AssertionError: \n&amp#27;[31mtotal is wrong&amp#27;[0m\nsecond line expected:<3> but was:<1>\n"
        "\tat shop.CartTest.subtracts(CartTest.java:14)"
    )
    price_list = {
        "system-out.txt": "&amp#27;[1mloading the price list&amp#27;[0m\n",
        "system-err.txt": "price list is old\n",
    }
    attempts = ("attempt-1-", "attempt-2-", "")
    assert case.output == {f"{attempt}{name}": text for attempt in attempts for name, text in price_list.items()}


def test_first_execution_decides_about_a_case_with_reruns() -> None:
    case = read_case(CART, "failsThenErrs")

    assert [(attempt.status, attempt.message) for attempt in case.attempts] == [
        ("error", "no connection in execution 2"),
        ("error", "no connection in execution 3"),
        ("failed", "total is 1"),
    ]
    assert (case.status, case.flaky, case.message) == ("failed", False, "total is 1")
    assert case.output == {
        "attempt-1-system-out.txt": "execution 2\n",
        "attempt-2-system-out.txt": "execution 3\n",
        "system-out.txt": "execution 1\n",
    }


def test_flaky_cases() -> None:
    failed, erred = read_run(FLAKY).cases

    assert rows_of(FLAKY) == [
        ("shop.FlakyTest", "failsOnce", "passed", 0, None),
        ("shop.FlakyTest", "errsTwice", "passed", 3, None),
    ]
    assert (failed.flaky, [(attempt.status, attempt.message) for attempt in failed.attempts]) == (
        True,
        [("failed", "connection reset by peer"), ("passed", None)],
    )
    assert failed.attempts[0].details == (
        "java.lang.AssertionError: connection reset by peer\n\tat shop.FlakyTest.failsOnce(FlakyTest.java:11)"
    )
    assert failed.output == {"attempt-1-system-out.txt": "execution 1\n"}
    assert [(attempt.status, attempt.message, attempt.type) for attempt in erred.attempts] == [
        ("error", "timeout 1", "java.lang.IllegalStateException"),
        ("error", "timeout 2", "java.lang.IllegalStateException"),
        ("passed", None, None),
    ]
    assert erred.output == {
        "attempt-1-system-err.txt": "execution 1\n",
        "attempt-2-system-err.txt": "execution 2\n",
    }


def test_failed_setup_of_a_class_and_failed_teardown() -> None:
    assert rows_of(FOLDER / "surefire-setup.xml") == [
        ("shop.SetupTest", "shop.SetupTest", "error", 0, "the database isn't reachable")
    ]
    (case,) = read_run(FOLDER / "surefire-teardown.xml").cases
    assert (case.status, case.summary) == ("failed", "total is 1")
    # Surefire counts the failure and the error of one execution as two executions.
    assert [attempt.message for attempt in case.attempts] == [
        *["the cart was not emptied", "total is 1"] * 2,
        "the cart was not emptied",
        "total is 1",
    ]


@pytest.mark.parametrize(("name", "duration_ms"), [("cart", 18), ("flaky", 163), ("setup", 0), ("teardown", 0)])
def test_run_has_only_a_duration(name: str, duration_ms: float, tmp_path: Path) -> None:
    report = FOLDER / f"surefire-{name}.xml"

    assert run_times(report, tmp_path) == (None, None, duration_ms)
    assert read_run(report).problems == ()


@needs_corpus
def test_error_in_a_nested_class_of_an_older_version() -> None:
    case = read_case(CORPUS / "surefire-nested-class-error.xml", "test")

    assert (case.suite, case.status, case.duration_ms) == ("surefire.MyTest", "error", 0)
    assert (case.type, case.message) == ("java.lang.RuntimeException", "java.lang.IndexOutOfBoundsException")
    assert case.summary == "java.lang.RuntimeException: java.lang.IndexOutOfBoundsException"
    assert (case.details or "").startswith(f"{case.summary}\n\tat surefire.MyTest.rethrownDelegate(MyTest.java:24)\n")
