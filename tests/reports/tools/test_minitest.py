"""Reports of minitest 5.25 by minitest-junit 2.1, minitest-reporters 1.8, and ci_reporter_minitest 1.0."""

from pathlib import Path

import pytest

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

JUNIT = OWN / "minitest" / "minitest-junit.xml"
REPORTERS = OWN / "minitest" / "minitest-reporters.xml"
CI_REPORTER = OWN / "minitest" / "ci-reporter.xml"

NAME = "test_größe <ü> & 大"
CART, SETUP, TEARDOWN = (f"minitest > Shop::{name}Test" for name in ("Cart", "Setup", "Teardown"))


def test_cases_of_minitest_junit() -> None:
    of_teardown = "RuntimeError: the cart was not emptied test/cart_test.rb:35:in `teardown'"
    assert rows_of(JUNIT) == [
        (CART, "test_subtracts", "failed", 1, "total is wrong second line. Expected: 3 Actual: 1"),
        (CART, "test_compares", "failed", 1, 'Expected: {:size=>"small"} Actual: {:size=>"größe <ü> & 大"}'),
        (CART, "test_adds", "passed", 1, None),
        (CART, "test_", "passed", 1, None),
        (CART, NAME, "passed", 1, None),
        (CART, "test_coupon", "skipped", 1, "coupons are switched off"),
        (CART, "test_raises", "error", 1, "ArgumentError: no stock of apples test/cart_test.rb:18:in `test_raises'"),
        (TEARDOWN, "test_fails", "error", 1,
         f"Expected: 3 Actual: 1 Error: Shop::TeardownTest#test_fails: {of_teardown}"),
        (TEARDOWN, "test_passes", "error", 1, of_teardown),
        (SETUP, "test_uses_database", "error", 1,
         "RuntimeError: the database isn't reachable test/cart_test.rb:30:in `setup'"),
    ]  # fmt: skip


def test_failed_case_of_minitest_junit() -> None:
    case = read_case(JUNIT, "test_subtracts")

    assert (case.file, case.line, case.started_at, case.type) == ("./test/cart_test.rb", 8, None, None)
    assert case.message == (
        "Failure: Shop::CartTest#test_subtracts [test/cart_test.rb:10]: "
        "total is wrong second line. Expected: 3   Actual: 1 "
    )
    assert case.details == "./test/cart_test.rb:10:in `test_subtracts'"
    assert (case.output, case.properties, case.attempt_count) == ({}, {}, 1)


def test_failure_and_teardown_error_are_one_attempt() -> None:
    case = read_case(JUNIT, "test_fails")

    assert (case.status, case.attempt_count, case.line) == ("error", 1, 36)
    assert "./test/cart_test.rb:36:in `test_fails'" in (case.details or "")
    assert "./test/cart_test.rb:35:in `teardown'" in (case.details or "")


def test_cases_of_minitest_reporters() -> None:
    cart, setup, teardown = (f"Shop::{name}Test" for name in ("Cart", "Setup", "Teardown"))
    assert rows_of(REPORTERS) == [
        (cart, "test_subtracts", "failed", 2, "total is wrong Expected: 3 Actual: 1"),
        (cart, "test_compares", "failed", 1, 'Expected: {:size=>"small"} Actual: {:size=>"größe <ü> & 大"}'),
        (cart, "test_adds", "passed", 1, None),
        (cart, "test_", "passed", 1, None),
        (cart, NAME, "passed", 1, None),
        (cart, "test_coupon", "skipped", 1, "Minitest::Skip"),
        (cart, "test_raises", "error", 1, "ArgumentError: no stock"),
        (teardown, "test_fails", "error", 1, "Expected: 3 Actual: 1"),
        (teardown, "test_passes", "error", 1, "RuntimeError: the cart was not emptied"),
        (setup, "test_uses_database", "error", 1, "RuntimeError: the database isn't reachable"),
    ]


def test_failed_case_of_minitest_reporters() -> None:
    case = read_case(REPORTERS, "test_subtracts")

    assert (case.file, case.line, case.started_at) == ("test/cart_test.rb", 8, None)
    assert (case.type, case.message) == ("Minitest::Assertion", "\ufffd[31mtotal is wrong\ufffd[0m...")
    assert case.details == (
        "Failure:\ntest_subtracts(Minitest::Result) [/builds/checkout/ruby/test/cart_test.rb:10]:\n"
        "\ufffd[31mtotal is wrong\ufffd[0m\nsecond line.\nExpected: 3\n  Actual: 1"
    )
    assert (case.output, case.properties) == ({}, {})


def test_cases_of_ci_reporter_have_no_class() -> None:
    rows = rows_of(CI_REPORTER)

    assert {row.suite for row in rows} == {"Minitest::Result"}
    assert [(row.name, row.status, row.summary) for row in rows if row.status != "passed"] == [
        ("test_subtracts", "failed", "total is wrong Expected: 3 Actual: 1 (Minitest::Assertion)"),
        (
            "test_compares",
            "failed",
            'Expected: {:size=>"small"} Actual: {:size=>"größe <ü> & 大"} (Minitest::Assertion)',
        ),
        ("test_coupon", "skipped", None),
        ("test_raises", "error", "ArgumentError: no stock"),
        ("test_fails", "error", "Expected: 3... Actual: 1 (Minitest::Assertion)"),
        ("test_passes", "error", "RuntimeError: the cart was not emptied"),
        ("test_uses_database", "error", "RuntimeError: the database isn't reachable"),
    ]


def test_failed_case_of_ci_reporter() -> None:
    case = read_case(CI_REPORTER, "test_subtracts")

    assert (case.file, case.line, case.type) == (None, None, "Minitest::Assertion")
    assert case.details == (
        "total is wrong\nsecond line.\nExpected: 3\n  Actual: 1 (Minitest::Assertion)\n"
        "/builds/checkout/ruby/test/cart_test.rb:10"
    )
    assert (case.output, read_run(CI_REPORTER).output) == ({}, {
        "1-Minitest::Result-system-out.txt": "\nadding\n  ",
        "2-Minitest::Result-system-err.txt": "\nprice list is old\n  ",
    })  # fmt: skip
    # ci_reporter counts the failure and the teardown error of one test as two errors.
    assert read_run(CI_REPORTER).problems == ("errors: the report declares 5, but contains 4",)


@pytest.mark.parametrize(
    ("report", "start", "end", "duration_ms"),
    [
        (JUNIT, "2026-11-25T19:00:58.000Z", "2026-11-25T19:00:58.001Z", 1),
        (REPORTERS, None, None, None),
        (CI_REPORTER, "2026-11-25T19:00:58.000Z", "2026-11-25T19:00:58.002Z", 2.431),
    ],
    ids=["minitest-junit", "minitest-reporters", "ci_reporter"],
)
def test_times_of_the_run(
    report: Path, start: str | None, end: str | None, duration_ms: float | None, tmp_path: Path
) -> None:
    assert run_times(report, tmp_path) == (start, end, duration_ms)


@needs_corpus
def test_case_without_a_class() -> None:
    (case,) = read_run(CORPUS / "minitest-launchable.xml").cases

    assert case.suite == "test/models/open_class_user_test.rb > UserTest"
    assert case.name == "test_should_not_save_user_without_name_2"
    assert (case.file, case.status, case.duration_ms) == ("test/models/open_class_user_test.rb", "passed", 1_614)
