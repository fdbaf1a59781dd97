"""Reports of karma-junit-reporter."""

from tests.reports.manifests import CORPUS
from tests.reports.tools.reading import needs_corpus, read_case, read_run

REPORT = CORPUS / "gen-karma-qs.xml"
BROWSER = "WebKit 537.36 (linux 0.0.0)"
CONSOLE = "\n    WebKit 537.36 (linux 0.0.0) LOG: 'hello <b> & ]]> end'\n\n\n  "


@needs_corpus
def test_failed_case() -> None:
    case = read_case(REPORT, "qs.parse nested — 日本語 fails with diff")

    assert case.suite == f"{BROWSER} > qs.parse nested — 日本語"
    assert (case.file, case.line, case.status, case.duration_ms, case.started_at) == (None, None, "failed", 1, None)
    assert case.summary == "Expected $.a = '1' to equal 1."
    assert (case.type, case.message) == (None, None)
    assert case.details == (
        "Expected $.a = '1' to equal 1.\n    at <Jasmine>\n    at UserContext.<anonymous> (spec.js:3:93)\n"
        "    at <Jasmine>\n\nExpected 1 to be 2.\n    at <Jasmine>\n    at UserContext.<anonymous> (spec.js:3:118)\n"
        "    at <Jasmine>"
    )
    assert (case.output, list(read_run(REPORT).output.values())) == ({}, [CONSOLE])
    assert (case.properties, case.flaky, case.attempt_count) == ({}, False, 1)


@needs_corpus
def test_passed_and_skipped_cases() -> None:
    passed = read_case(REPORT, "qs.parse parses a=1")
    skipped = read_case(REPORT, "qs.parse nested — 日本語 is pending")

    assert (passed.suite, passed.status, passed.duration_ms, passed.output) == (
        f"{BROWSER} > qs.parse",
        "passed",
        2,
        {},
    )
    assert (skipped.status, skipped.duration_ms, skipped.summary) == ("skipped", 0, None)


@needs_corpus
def test_run() -> None:
    run = read_run(REPORT)

    assert len(run.cases) == 10
    # The time has no zone, so that only the duration of 11 ms is known.
    assert (run.started_at, run.completed_at, run.problems) == ("2026-12-31T23:59:59.989Z", None, ())
