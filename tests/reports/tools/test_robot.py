"""Reports of Robot Framework: `output.xml` and `robot --xunit`."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.reports.manifests import OWN
from tests.reports.tools.reading import ReadCase, outline, read_case, read_run

FOLDER: Final = OWN / "robot"
REPORT: Final = FOLDER / "xunit.xml"
OUTPUT: Final = FOLDER / "output-7.xml"
MERGED: Final = FOLDER / "merged-7.xml"
BROKEN: Final = "Robot > Sub > Broken Setup"
NO_DATABASE: Final = "Parent suite setup failed: no database"
BROKEN_TEARDOWN: Final = "Robot > Sub > Broken Teardown"
LOCKED: Final = "Parent suite teardown failed: database is locked"
DIFFERS: Final = "total <&> differs: 1 != 2"


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


@pytest.mark.parametrize(
    ("version", "skipped_on_failure"),
    [
        (5, "Test failed but skip-on-failure mode was active and it was marked skipped."),
        (6, "Test failed but skip-on-failure mode was active and it was marked skipped."),
        (7, "Failed test skipped using 'robot:skip-on-failure' tag."),
    ],
)
def test_cases_of_the_output(version: int, skipped_on_failure: str) -> None:
    cases = [(*row[:5], row[6]) for row in outline(FOLDER / f"output-{version}.xml")]

    assert cases == [
        ("Robot > Cart", "Adds An Item", "cart.robot", 9, "passed", None),
        ("Robot > Cart", "Wrong Total", "cart.robot", 15, "failed", DIFFERS),
        ("Robot > Cart", "Multi Line Failure", "cart.robot", 19, "failed", "line one"),
        ("Robot > Cart", "Skipped Test", "cart.robot", 22, "skipped", "waits for SHOP-10"),
        ("Robot > Cart", "Skipped On Failure", "cart.robot", 25, "skipped", skipped_on_failure),
        ("Robot > Cart", "Teardown Fails", "cart.robot", 29, "failed", "Teardown failed: still open"),
        ("Robot > Cart", "Fails And Teardown Fails", "cart.robot", 33, "failed", "first"),
        ("Robot > Cart", "Setup Fails", "cart.robot", 37, "failed", "Setup failed: no session"),
        ("Robot > Cart", "Several Keywords Fail", "cart.robot", 41, "failed",
         "Several failures occurred: 1) one 2) two"),
        ("Robot > Cart", "Handled Failure Passes", "cart.robot", 45, "passed", None),
        ("Robot > Cart", "Fails In A Loop", "cart.robot", 52, "failed", DIFFERS),
        ("Robot > Cart", "Html Failure", "cart.robot", 59, "failed", "bold & red"),
        ("Robot > Cart", "Preis in Ünïcode — 日本", "cart.robot", 63, "passed", None),
        (BROKEN, "First", "broken_setup.robot", 5, "failed", NO_DATABASE),
        (BROKEN, "Second", "broken_setup.robot", 8, "failed", NO_DATABASE),
        (BROKEN_TEARDOWN, "Passes Before The Teardown", "broken_teardown.robot", 5, "failed", LOCKED),
        (BROKEN_TEARDOWN, "Fails Before The Teardown", "broken_teardown.robot", 8, "failed", "own failure"),
        (BROKEN_TEARDOWN, "Skipped Before The Teardown", "broken_teardown.robot", 11, "skipped", "not now"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "xunit"),
    [(f"output-{version}", f"xunit-{version}") for version in (5, 6, 7)] + [("combined-7", "xunit-combined-7")],
)
def test_output_and_xunit_state_the_same(output: str, xunit: str) -> None:
    of_output, of_xunit = (read_run(FOLDER / f"{name}.xml").cases for name in (output, xunit))

    assert [case.key for case in of_output] == [case.key for case in of_xunit]
    assert [_stated(case) for case in of_output] == [_stated(case) for case in of_xunit]
    assert any(case.name == "Html Failure" for case in of_xunit)


def test_merged_output_and_xunit_state_the_same_last_attempts() -> None:
    of_output, of_xunit = (read_run(FOLDER / f"{name}.xml").cases for name in ("merged-7", "xunit-merged-7"))

    assert [(case.key, case.status) for case in of_output] == [(case.key, case.status) for case in of_xunit]


def test_failed_keyword_has_a_path_and_its_messages() -> None:
    failed = read_case(OUTPUT, "Fails In A Loop")
    path = (
        "FOR > ${count} = 2 > IF ${count} == 2 > Pay(${count}) > Check Total(${total})"
        " > Should Be Equal As Integers(1, ${total}, total <&> differs)"
    )

    assert (failed.message, failed.details) == (DIFFERS, f"Keyword: {path}")
    assert failed.output == {"log.txt": f"{path}\n2026-11-29T15:50:39.348208 FAIL {DIFFERS}\n"}


def test_each_failed_keyword_is_listed() -> None:
    several = read_case(OUTPUT, "Several Keywords Fail")
    teardown = read_case(OUTPUT, "Fails And Teardown Fails")
    handled = read_case(OUTPUT, "Handled Failure Passes")

    assert several.details == (
        "Keyword: Run Keyword And Continue On Failure(Fail, one) > Fail(one)\n"
        "Keyword: Run Keyword And Continue On Failure(Fail, two) > Fail(two)"
    )
    assert teardown.details == "Keyword: Fail(first)\nKeyword: TEARDOWN Fail(still open)"
    assert (handled.details, handled.output) == (None, {})


def test_control_structures_of_version_7_are_part_of_the_path() -> None:
    failed = read_case(FOLDER / "modern-7.xml", "Pays In A Group")

    assert failed.details == "Keyword: GROUP Checkout > Should Be Equal(${total}, 3, total differs)"


def test_html_is_stored_as_text_and_its_images_are_files() -> None:
    failed = read_case(OUTPUT, "Html Failure")

    assert failed.message == "bold & red\nsecond line"
    assert failed.files == {"cart.png": "screens/cart.png"}


def test_tags_are_properties() -> None:
    assert read_case(OUTPUT, "Adds An Item").properties == {"tags": "cart\nSHOP-1\nsmoke"}


@pytest.mark.parametrize(("version", "duration_ms"), [(5, 40), (6, 76), (7, 57)])
def test_duration_of_the_output_is_that_of_its_first_suite(version: int, duration_ms: int) -> None:
    run = read_run(FOLDER / f"output-{version}.xml")

    assert run.started_at == f"2026-12-31T23:59:59.{1000 - duration_ms}Z"
    assert (run.completed_at, run.problems, run.failures_missing) == (None, (), False)


def test_logs_of_suites_and_errors_of_the_run_are_output_of_the_run() -> None:
    assert read_run(OUTPUT).output == {
        f"1-{BROKEN}-log.txt": "SETUP Open Database(shop) > Fail(no database)\n"
        "2026-11-29T15:50:39.352825 FAIL no database\n",
        f"2-{BROKEN_TEARDOWN}-log.txt": "TEARDOWN Fail(database is locked)\n"
        "2026-11-29T15:50:39.356184 FAIL database is locked\n",
        "3-run-errors.txt": "2026-11-29T15:50:39.294317 ERROR Error in file '/builds/shop/robot/cart.robot' on line 5: "
        "Non-existing setting 'Color'.",
    }


def test_merged_executions_are_attempts() -> None:
    once, twice, passes = read_run(MERGED).cases

    assert (once.name, once.status, once.flaky, once.message) == ("Fails Once", "passed", True, None)
    assert [(each.status, each.message) for each in once.attempts] == [
        ("failed", "File '/builds/shop/marker' does not exist."),
        ("passed", None),
    ]
    message = "File '/builds/shop/marker.never' does not exist."
    assert (twice.name, twice.status, twice.flaky) == ("Fails Twice", "failed", False)
    assert [(each.status, each.message) for each in twice.attempts] == [("failed", message)] * 3
    assert twice.details == "Keyword: File Should Exist(${MARKER}.never)"
    assert (passes.name, passes.status, passes.attempts) == ("Passes", "passed", ())


def test_tasks_are_read_as_tests() -> None:
    assert [row[:5] for row in outline(FOLDER / "rpa-7.xml")] == [
        ("Tasks", "Exports Orders", "tasks.robot", None, "passed"),
        ("Tasks", "Sends Invoices", "tasks.robot", 5, "failed"),
    ]


def test_combined_outputs_have_a_suite_around_them() -> None:
    suites = dict.fromkeys(row[0] for row in outline(Path(FOLDER, "combined-7.xml")))

    assert list(suites) == [
        "Robot & Modern > Robot > Cart",
        f"Robot & Modern > {BROKEN}",
        f"Robot & Modern > {BROKEN_TEARDOWN}",
        "Robot & Modern > Modern",
    ]


def _stated(case: ReadCase) -> tuple[Any, ...]:
    """Return the values that both reports state. The other one contains the source of a message in HTML."""
    message = None if case.name == "Html Failure" or case.status == "passed" else case.message
    return case.suite, case.name, case.occurrence, case.status, message


def test_report_of_version_3() -> None:
    report = FOLDER / "output-3.xml"
    failed = read_case(report, "Subtracts")

    assert [row[:5] for row in outline(report)] == [
        ("Tests > Cart", "Adds", "cart.robot", None, "passed"),
        ("Tests > Cart", "Subtracts", "cart.robot", None, "failed"),
        ("Tests > Cart", "Optional", "cart.robot", None, "failed"),
        ("Tests > Orders", "Pays", "orders.robot", None, "failed"),
        ("Tests > Stock", "Counts", "stock.robot", None, "failed"),
    ]
    assert failed.details == "Keyword: Should Be Equal As Integers(${1}, ${2}, the total is wrong)"
    assert (failed.properties, failed.files) == ({"tags": "fast\nnoncritical\nshop"}, {"cart.png": "shots/cart.png"})
