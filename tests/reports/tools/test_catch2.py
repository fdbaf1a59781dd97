"""Reports of Catch2 (`--reporter junit`)."""

from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "catch2" / "junit.xml"
MAY_FAIL: Final = "may fail"
SUITE: Final = "catchtests > global"


def test_cases() -> None:
    assert outline(REPORT) == [
        (SUITE, "adds items", None, None, "passed", 0, None),
        (SUITE, "is wrong — Σ", None, None, "failed", 0, "sum == 4"),
        (SUITE, "sections", None, None, "passed", 0, None),
        (SUITE, "sections/passes", None, None, "passed", 0, None),
        (SUITE, "sections/fails", None, None, "failed", 0, "1 == 2"),
        (SUITE, "throws", None, None, "error", 0, "line one"),
        (SUITE, MAY_FAIL, None, None, "skipped", 0, "1 == 2"),  # [!mayfail]
        (SUITE, "should fail", None, None, "skipped", 0, "1 == 2"),  # [!shouldfail]
        (SUITE, "should fail, but passes", None, None, "passed", 0, None),
        (SUITE, "is skipped", None, None, "skipped", 0, "waits for SHOP-10"),
        (SUITE, "fails with a message", None, None, "failed", 0, "no database"),
        (SUITE, "typed - int", None, None, "passed", 0, None),
        (SUITE, "typed - long", None, None, "failed", 0, "sizeof(TestType) == 4"),
        (SUITE, "scenario.with.dots/and slash", None, None, "passed", 0, None),
        ("catchtests > Fixture", "uses a fixture", None, None, "failed", 0, "n == 2"),
    ]


def test_texts_and_output_of_a_failed_case() -> None:
    case = read_case(REPORT, "is wrong — Σ")

    assert (case.type, case.message) == ("REQUIRE", "sum == 4")
    assert case.details == (
        "FAILED:\n  REQUIRE( sum == 4 )\nwith expansion:\n  3 == 4\ncontext <&>\nat /builds/cpp/catch.cpp:9"
    )
    stdout, stderr = "\nto stdout \\x1B[31mred\\x1B[0m\n", "\nto stderr\n"
    assert case.output == {
        "system-out.txt": f"{stdout}      ", "system-err.txt": f"{stderr}      ",
    }  # fmt: skip
    assert read_run(REPORT).output == {
        "1-catchtests-system-out.txt": f"{stdout}    ", "2-catchtests-system-err.txt": f"{stderr}    ",
    }  # fmt: skip
    assert (case.properties, case.flaky, case.attempt_count) == ({}, False, 1)


def test_all_failures_of_a_case_are_in_its_details() -> None:
    at = "at /builds/cpp/catch.cpp:13"

    details = read_case(REPORT, "sections/fails").details

    assert details == f"FAILED:\n  CHECK( 1 == 2 )\n{at}\n\nFAILED:\n  CHECK( 2 == 3 )\n{at}"


def test_times_of_the_run() -> None:
    run = read_run(REPORT)

    # timestamp="2026-11-25T19:00:14Z" time="0.000"
    assert (run.started_at, run.completed_at) == ("2026-11-25T19:00:14.000Z", "2026-11-25T19:00:14.000Z")
    assert (run.problems, {case.started_at for case in run.cases}) == ((), {None})
