"""Reports of pytest-json-report, also compared with the JUnit XML of the same run."""

from typing import Final

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "pytest" / "json-report.json"
JUNIT: Final = OWN / "pytest" / "json-report.xml"  # of the same run
RERUNS: Final = OWN / "pytest" / "json-report-reruns.json"  # with --reruns 2
XDIST: Final = OWN / "pytest" / "json-report-xdist.json"  # with -n 2
COLLECTION: Final = OWN / "pytest" / "json-report-collection.json"
CART: Final = "pytest > tests.unit.test_cart"
CLASS: Final = "pytest > tests.unit.test_cart_class.CartTest"
FILE: Final = "tests/unit/test_cart.py"
CLASS_FILE: Final = "tests/unit/test_cart_class.py"
NO_MODULE: Final = "ModuleNotFoundError: No module named 'missing_module'"
SUMS_DIFFER: Final = "AssertionError: assert {'sum': 3} == {'sum': 4}"


def test_cases() -> None:
    assert outline(REPORT) == [
        ("pytest", "tests.unit.test_broken", "tests/unit/test_broken.py", None, "error", None, NO_MODULE),
        ("pytest", "tests.unit.test_module_skip", "tests/unit/test_module_skip.py", None, "skipped", None,
         "needs Windows"),
        (f"{CART}.TestCart.TestTotals", "test_nested", FILE, None, "passed", 1, None),
        (CART, "test_param[1]", FILE, None, "passed", 1, None),
        (CART, "test_param[2]", FILE, 16, "failed", 1, "AssertionError: line one"),
        (CART, "test_param[\\xe9/\\xfc]", FILE, None, "passed", 1, None),
        (CART, "test_param[]", FILE, None, "passed", 1, None),
        (CART, "test_param[a::b]", FILE, None, "passed", 1, None),
        (CART, "test_param[x\\ny]", FILE, None, "passed", 1, None),
        (CART, "test_param[[a]]", FILE, None, "passed", 1, None),
        (CART, "test_output", FILE, 21, "failed", 1, SUMS_DIFFER),
        (CART, "test_metadata", FILE, 32, "passed", 1, None),
        (CART, "test_skipped", FILE, 38, "skipped", 1, "waits for SHOP-10 <&>"),
        (CART, "test_skips_itself", FILE, 43, "skipped", 1, "no database"),
        (CART, "test_xfail", FILE, 47, "skipped", 1, "assert 1 == 2"),
        (CART, "test_xpass", FILE, None, "passed", 1, None),
        (CART, "test_xpass_strict", FILE, 57, "failed", 1, "[XPASS(strict)] was fixed"),
        (CART, "test_setup_error", FILE, 74, "error", 1, "ValueError: no database"),
        (CART, "test_teardown_error", FILE, 78, "error", 1, "RuntimeError: still open"),
        (CART, "test_fails_and_teardown_error", FILE, 82, "error", 1, "assert 1 == 2"),
        (CART, "test_flaky", FILE, 86, "failed", 1, "AssertionError: assert 1 == 3"),
        (CART, "test_raises", FILE, 91, "failed", 1, "KeyError: 'sku'"),
        (CART, "test_prüft_ñ", FILE, None, "passed", 1, None),
        (CLASS, "test_adds", CLASS_FILE, 5, "failed", 1, "AssertionError: 1 != 2 : sum"),
        (CLASS, "test_expected", CLASS_FILE, 13, "skipped", 1, "self = <TestCaseFunction test_expected>"),
        (CLASS, "test_subtests", CLASS_FILE, 8, "failed", 2, "The report states the outcome failed, but no failure."),
        (CLASS, "test_unexpected", CLASS_FILE, 17, "failed", 1, "Failed: Unexpected success"),
    ]  # fmt: skip


def test_times_of_the_run() -> None:
    run = read_run(REPORT)

    # "created": 1795967449.7850459, "duration": 0.10126042366027832
    assert (run.started_at, run.completed_at) == ("2026-11-29T15:50:49.683Z", "2026-11-29T15:50:49.785Z")
    assert (run.problems, run.failures_missing) == ((), False)


def test_texts_of_a_failure() -> None:
    case = read_case(REPORT, "test_param[2]")

    assert (case.type, case.message) == (
        "AssertionError", "AssertionError: line one\n  line \x1b[31mred\x1b[0m\nassert 2 != 2",
    )  # fmt: skip
    assert case.details
    assert case.details.startswith("value = 2\n\n    @pytest.mark.parametrize(")
    assert case.details.endswith("tests/unit/test_cart.py:18: AssertionError")


def test_output_and_properties() -> None:
    case = read_case(REPORT, "test_output")

    assert case.output == {
        "stdout.txt": "to stdout\n",
        "stderr.txt": "to stderr\n",
        "log.txt": "WARNING  shop:test_cart.py:27 logged text",
    }
    assert case.properties == {"issue": "SHOP-7", "owner": "zoë & co"}
    metadata = {"issue": "SHOP-9", "order": '{"id": 7, "items": ["a", "b"]}', "team": "cart"}
    assert read_case(REPORT, "test_metadata").properties == metadata


def test_failure_and_teardown_error_are_one_attempt() -> None:
    case = read_case(REPORT, "test_fails_and_teardown_error")

    assert (case.status, case.attempt_count, case.message) == ("error", 1, "assert 1 == 2")
    assert case.details
    assert "tests/unit/test_cart.py:83: AssertionError\n\n" in case.details
    assert case.details.endswith("tests/unit/test_cart.py:71: RuntimeError")


def test_cases_and_statuses_equal_those_of_the_junit_xml() -> None:
    of_json = {(case.suite, case.name): case.status for case in read_run(REPORT).cases}
    of_junit = {(case.suite, case.name): case.status for case in read_run(JUNIT).cases}

    assert of_json == of_junit


def test_rerun_that_passed_is_flaky() -> None:
    case = read_case(RERUNS, "test_flaky")

    # The test was executed three times, but the report states only that it was executed again.
    assert [attempt.status for attempt in case.attempts] == ["failed", "passed"]
    assert (case.status, case.flaky) == ("passed", True)


@pytest.mark.parametrize("name", ["test_raises", "test_setup_error", "test_teardown_error"])
def test_reruns_that_failed_are_not_stated(name: str) -> None:
    case = read_case(RERUNS, name)

    assert (case.flaky, case.attempt_count) == (False, 1)


def test_report_of_xdist_has_the_same_cases_and_texts() -> None:
    cases = {case.name: case for case in read_run(REPORT).cases if case.file == FILE}
    of_xdist = {case.name: case for case in read_run(XDIST).cases}

    assert {name: case.key for name, case in of_xdist.items()} == {name: case.key for name, case in cases.items()}
    texts = {name: (case.type, case.message, case.summary) for name, case in cases.items()}
    assert {name: (case.type, case.message, case.summary) for name, case in of_xdist.items()} == texts


def test_interrupted_collection_contains_the_error() -> None:
    run = read_run(COLLECTION)

    assert [(case.name, case.status) for case in run.cases] == [
        ("tests.unit.test_broken", "error"), ("tests.unit.test_module_skip", "skipped"),
    ]  # fmt: skip
    assert not run.failures_missing
