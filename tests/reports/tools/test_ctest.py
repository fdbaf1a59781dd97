"""Reports of CTest (`ctest --output-junit`)."""

from typing import Final

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, outline, read_case, read_run

REPORT: Final = OWN / "ctest" / "junit.xml"
LABELS: Final = "labelled"  # codespell:ignore labelled - name in the report
SUITE: Final = "(empty)"  # the name of the build, which only a dashboard client sets


def test_cases() -> None:
    assert outline(REPORT) == [
        (SUITE, "passes", None, None, "passed", 99, None),
        (SUITE, "fails", None, None, "failed", 80, "Failed"),
        (SUITE, "name with spaces — Σ", None, None, "passed", 88, None),
        (SUITE, "times_out", None, None, "failed", 238, "Timeout"),
        (SUITE, "not_found", None, None, "skipped", 0, "Unable to find executable"),
        (SUITE, "disabled", None, None, "skipped", 0, None),
        (SUITE, "skipped", None, None, "skipped", 61, "SKIP_RETURN_CODE=77"),
        (SUITE, LABELS, None, None, "failed", 18, "Failed"),
        (SUITE, "crashes", None, None, "failed", 19, "SEGFAULT"),
        (SUITE, "setup_fails", None, None, "failed", 4, "Failed"),
        (SUITE, "needs_setup", None, None, "skipped", 0, "Fixture dependency failed"),
    ]


def test_output_of_cases_that_did_not_pass() -> None:
    written = {case.name: case.output["system-out.txt"] for case in read_run(REPORT).cases if case.output}

    assert written == {
        "fails": "CMake Error: missing.txt: no such file or directory (ignoring)\n",
        "not_found": "Unable to find executable: ./no-such-program",
        "disabled": "Disabled",
        "skipped": "reason\n",
        LABELS: "to [NON-XML-CHAR-0x1B][31mstdout[NON-XML-CHAR-0x1B][0m\nto stderr\n",
        "needs_setup": "Failed test dependencies: setup_fails",
    }


def test_texts_and_labels() -> None:
    case = read_case(REPORT, LABELS)

    assert (case.type, case.message, case.details) == (None, "Failed", None)
    assert case.properties == {"cmake_labels": "cart;smoke"}
    assert (case.flaky, case.attempt_count) == (False, 1)


def test_times_without_a_zone_are_unknown() -> None:
    run = read_run(REPORT)

    # timestamp="2026-11-25T19:00:14" time="0"
    assert (run.started_at, run.completed_at, run.problems) == ("2027-01-01T00:00:00.000Z", None, ())


@needs_corpus
def test_suite_with_the_name_of_a_build() -> None:
    cases = read_run(CORPUS / "gen-ctest-catch2.xml").cases

    assert len(cases) == 70
    assert cases[0][:6] == ("Linux-c++", "RunTests", 0, None, None, "passed")
    assert cases[0].duration_ms == 1151
