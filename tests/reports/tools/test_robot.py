"""Reports of Robot Framework (`robot --xunit`)."""

from typing import Final

from tests.reports.manifests import OWN
from tests.reports.tools.reading import outline, read_case, read_run

REPORT: Final = OWN / "robot" / "xunit.xml"
BROKEN: Final = "Robot > Sub > Broken Setup"
NO_DATABASE: Final = "Parent suite setup failed: no database"


def test_cases() -> None:
    assert outline(REPORT) == [
        ("Robot > Cart", "Adds An Item", None, None, "passed", 3, None),
        ("Robot > Cart", "Wrong Total", None, None, "failed", 1, "total <&> differs: 1 != 2"),
        ("Robot > Cart", "Multi Line Failure", None, None, "failed", 0, "line one"),
        ("Robot > Cart", "Skipped Test", None, None, "skipped", 0, "waits for SHOP-10"),
        ("Robot > Cart", "Teardown Fails", None, None, "failed", 1, "Teardown failed: still open"),
        ("Robot > Cart", "Fails And Teardown Fails", None, None, "failed", 7, "first"),
        ("Robot > Cart", "Preis in Ünïcode — 日本", None, None, "passed", 1, None),
        (BROKEN, "First", None, None, "failed", 0, NO_DATABASE),
        (BROKEN, "Second", None, None, "failed", 0, NO_DATABASE),
    ]


def test_texts_of_a_failure_and_of_a_skip() -> None:
    failed = read_case(REPORT, "Fails And Teardown Fails")
    skipped = read_case(REPORT, "Skipped Test")

    assert (failed.type, failed.message) == ("AssertionError", "first\n\nAlso teardown failed:\nstill open")
    assert (failed.details, failed.output, failed.properties) == (None, {}, {})
    assert (skipped.type, skipped.message) == ("SkipExecution", "waits for SHOP-10")


def test_times_without_a_zone_count_only_for_the_duration() -> None:
    run = read_run(REPORT)

    # timestamp="2026-11-25T18:56:32.396024" time="0.075"
    assert (run.started_at, run.completed_at) == ("2026-12-31T23:59:59.925Z", None)
    assert (run.problems, {case.started_at for case in run.cases}) == ((), {None})
