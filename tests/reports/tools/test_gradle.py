"""Reports of Gradle 4.4.1 for JUnit 4, and of a newer version for JUnit 5 from the corpus."""

from pathlib import Path

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

CART = OWN / "gradle" / "gradle-cart.xml"
TEARDOWN = OWN / "gradle" / "gradle-teardown.xml"
SETUP = OWN / "gradle" / "gradle-setup.xml"
ASSERTION = "java.lang.AssertionError"


def test_cases() -> None:
    assert rows_of(CART) == [
        ("shop.CartTest", "coupon", "skipped", 70, None),
        ("shop.CartTest", "raises", "failed", 0, "java.lang.IllegalStateException: no stock"),
        ("shop.CartTest", "assumes", "skipped", 1, None),
        ("shop.CartTest", "failsThenErrs", "failed", 0, f"{ASSERTION}: total is 1"),
        ("shop.CartTest", "adds", "passed", 26, None),
        ("shop.CartTest", "größe_大", "failed", 1, f"{ASSERTION}: größe <ü> & 大"),
        ("shop.CartTest", "subtracts", "failed", 0, f"{ASSERTION}: total is wrong"),
    ]
    assert rows_of(SETUP) == [
        ("shop.SetupTest", "classMethod", "failed", 0, "java.lang.IllegalStateException: the database isn't reachable")
    ]


def test_failed_case() -> None:
    case = read_case(CART, "subtracts")

    assert (case.file, case.line, case.started_at, case.properties) == (None, None, None, {})
    assert (case.type, case.attempt_count) == (ASSERTION, 1)
    assert case.message == f"{ASSERTION}: ?[31mtotal is wrong?[0m\nsecond line expected:<3> but was:<1>"
    assert (case.details or "").startswith(f"{case.message}\n\tat org.junit.Assert.fail(Assert.java:89)\n")
    assert "\tat shop.CartTest.subtracts(CartTest.java:14)\n" in (case.details or "")
    assert case.output == {}
    assert read_run(CART).output == {
        "1-shop.CartTest-system-out.txt": "execution 1\nadding\n?[1mloading the price list?[0m\n",
        "2-shop.CartTest-system-err.txt": "price list is old\n",
    }


def test_failed_test_and_teardown_are_one_failure_with_both_texts() -> None:
    (case,) = read_run(TEARDOWN).cases

    assert (case.status, case.duration_ms, case.attempt_count) == ("failed", 23, 1)
    assert (case.type, case.message, case.output) == (ASSERTION, f"{ASSERTION}: total is 1", {})
    assert "\tat shop.TeardownTest.failsTwice(TeardownTest.java:9)\n" in (case.details or "")
    assert "\n\njava.lang.IllegalStateException: the cart was not emptied\n\tat " in (case.details or "")


def test_run_has_only_a_duration(tmp_path: Path) -> None:
    assert run_times(CART, tmp_path) == (None, None, 116)
    assert read_run(CART).problems == ()


@needs_corpus
def test_parametrized_tests_of_kotlin() -> None:
    rows = rows_of(CORPUS / "gradle-kotlin-calculator.xml")

    suite = "com.github.guenhter.junit.CalculatorTest"
    adding = "adding two numbers should be a positive sum when summing two positive numbers()"
    assert (rows[0], rows[1]) == ((suite, adding, "passed", 3, None), (suite, "[1] 1, 2, 3", "passed", 12, None))
    assert len({row.name for row in rows}) == len(rows) == 24
