"""Reports of PHPUnit 11.5, whose root suite is the absolute path of its configuration, and of PHPUnit 11.2."""

from pathlib import Path

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

REPORT = OWN / "phpunit" / "phpunit-11.xml"
SETUP, TEARDOWN, TOTAL = (f"unit > Shop\\Cart\\{name}Test" for name in ("Setup", "Teardown", "Total"))
RATE = f"{TOTAL} > Shop\\Cart\\TotalTest::testRate"
EXPECTATION = "PHPUnit\\Framework\\ExpectationFailedException"


def test_cases() -> None:
    assert rows_of(REPORT) == [
        (SETUP, "testUsesDatabase", "error", 0, "LogicException: the database isn't reachable"),
        (TEARDOWN, "testFails", "failed", 1, "Failed asserting that false is true."),
        (TEARDOWN, "testPasses", "error", 1, "LogicException: the cart was not emptied"),
        (TOTAL, "testAdds", "passed", 1, None),
        (TOTAL, "testSubtracts", "failed", 1, "total is wrong"),
        (RATE, 'testRate with data set "größe <ü> & 大"', "failed", 1, "Failed asserting that 2 is identical to 3."),
        (RATE, 'testRate with data set "two"', "passed", 1, None),
        (RATE, 'testRate with data set ""', "passed", 1, None),
        (TOTAL, "testCoupon", "skipped", 1, None),
        (TOTAL, "testLater", "skipped", 1, None),
        (TOTAL, "testRisky", "passed", 1, None),
        (TOTAL, "testThrows", "error", 1, "RuntimeException: no stock"),
        (TOTAL, "testWarns", "passed", 1, None),
    ]


def test_files_are_relative_to_the_folder_of_the_configuration() -> None:
    files = {(case.suite, case.file) for case in read_run(REPORT).cases}

    assert files == {
        (SETUP, "tests/Cart/SetupTest.php"),
        (TEARDOWN, "tests/Cart/TeardownTest.php"),
        (TOTAL, "tests/Cart/TotalTest.php"),
        (RATE, "tests/Cart/TotalTest.php"),
    }


def test_failed_case() -> None:
    case = read_case(REPORT, "testSubtracts")

    assert (case.line, case.started_at, case.type, case.message) == (11, None, EXPECTATION, None)
    assert case.details == (
        "Shop\\Cart\\TotalTest::testSubtracts\n[31mtotal is wrong[0m\nsecond line\n"
        "Failed asserting that 1 is identical to 3.\n\n/builds/checkout/php/tests/Cart/TotalTest.php:14"
    )
    assert case.output == {"system-out.txt": "[1mloading the price list[0m\n"}
    assert (case.properties, case.attempt_count) == ({}, 1)


def test_lines_are_those_of_the_tests() -> None:
    lines = {case.name: case.line for case in read_run(REPORT).cases if case.status != "passed"}

    assert lines == {
        "testUsesDatabase": 9,
        "testFails": 9,
        "testPasses": 10,
        "testSubtracts": 11,
        'testRate with data set "größe <ü> & 大"': 18,
        "testCoupon": 22,
        "testLater": 23,
        "testThrows": 25,
    }


def test_run_has_only_a_duration(tmp_path: Path) -> None:
    assert run_times(REPORT, tmp_path) == (None, None, 2.649)
    assert read_run(REPORT).problems == ()


@needs_corpus
def test_case_of_phpt() -> None:
    name = "targeting-traits-with-coversclass-attribute-is-deprecated.phpt"
    case = read_case(CORPUS / "phpunit-dorny.xml", name)

    assert (case.suite, case.file, case.line, case.status, case.duration_ms) == (
        "CLI Arguments",
        name,
        None,
        "failed",
        68,
    )
    assert case.type == "PHPUnit\\Framework\\PhptAssertionFailedError"
    assert (case.summary or "").startswith(f"{name}Failed asserting that string matches format description. +Test")
