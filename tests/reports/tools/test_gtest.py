"""Reports of GoogleTest (`--gtest_output=xml`)."""

from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "gtest" / "gtest.xml"
FILE: Final = "gtest.cpp"
SUM: Final = "Expected equality of these values: sum Which is: 3 4 context <&> red — Σ"
THROWN: Final = 'C++ exception with description "no database" thrown in the test body.'
REMAINDER: Final = "Expected equality of these values: GetParam() % 2 Which is: 1 0"


def test_cases() -> None:
    assert outline(REPORT) == [
        ("Cart", "AddsItems", FILE, None, "passed", 0, None),
        ("Cart", "IsWrong", FILE, 5, "failed", 0, SUM),
        ("Cart", "IsSkipped", FILE, 12, "skipped", 0, "waits for SHOP-10"),
        ("Cart", "DISABLED_Later", FILE, 13, "skipped", 0, None),
        ("Cart", "Throws", FILE, 14, "failed", 0, THROWN),
        ("Typed/0", "IsZero", FILE, 21, "passed", 0, None),
        ("Typed/1", "IsZero", FILE, 21, "passed", 0, None),
        ("Broken", "First", FILE, 23, "skipped", 0, "/builds/cpp/gtest.cpp:23"),
        ("Broken", "Broken", None, None, "failed", 0, "suite setup"),  # has no name: the failure of SetUpTestSuite
        ("Teardown", "Passes", FILE, 25, "failed", 0, "still open"),
        ("Small/Totals", "AreEven/0", FILE, 16, "passed", 0, None),
        ("Small/Totals", "AreEven/1", FILE, 16, "failed", 0, REMAINDER),
    ]


def test_texts_of_two_failures() -> None:
    case = read_case(REPORT, "IsWrong")

    first = "/builds/cpp/gtest.cpp:9\nExpected equality of these values:\n  sum\n    Which is: 3\n  4\n"
    first += "context <&> [31mred[0m — Σ"
    assert (case.type, case.message) == (None, f"{first}\n")
    assert case.details == (
        f"{first}\n\n/builds/cpp/gtest.cpp:10\nValue of: false\n  Actual: false\nExpected: true"
    )  # fmt: skip
    assert (case.output, case.flaky, case.attempt_count) == ({}, False, 1)


def test_properties_and_parameters() -> None:
    assert read_case(REPORT, "IsWrong").properties == {"issue": "SHOP-7"}
    assert read_case(REPORT, "IsZero", "Typed/1").properties == {"type_param": "double"}
    assert read_case(REPORT, "AreEven/1").properties == {"value_param": "3"}


def test_times_without_a_zone_are_unknown() -> None:
    run = read_run(REPORT)

    # timestamp="2026-11-25T19:00:14.273" time="0."; the failure of SetUpTestSuite isn't in failures="4".
    assert (run.started_at, run.completed_at) == ("2027-01-01T00:00:00.000Z", None)
    assert run.problems == ("failures: the report declares 4, but contains 5",)
    assert {case.started_at for case in run.cases} == {None}
