"""Reports of rspec_junit_formatter 0.6.0 with RSpec 3.13, and of older versions from the corpus."""

from pathlib import Path

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

REPORT = OWN / "rspec" / "rspec.xml"
LOAD_ERROR = OWN / "rspec" / "rspec-load-error.xml"
SUITE = "rspec > spec.cart.total_spec"
SEVERAL = "RSpec::Expectations::MultipleExpectationsNotMetError"
NOT_MET = "RSpec::Expectations::ExpectationNotMetError"


def test_cases() -> None:
    assert rows_of(REPORT) == [
        (SUITE, "Cart waits for stock", "skipped", 1, None),
        (SUITE, "Cart fails twice with both failures", "failed", 39, SEVERAL),
        (SUITE, "Cart with a broken teardown fails twice", "failed", 1, "RSpec::Core::MultipleExceptionError"),
        (SUITE, "Cart #total has rate 1", "passed", 1, None),
        (SUITE, "Cart #total is expected to eq 1", "passed", 1, None),
        (SUITE, "Cart #total größe <ü> & 大", "passed", 1, None),
        (SUITE, "Cart #total has rate 2", "failed", 1, "expected: 1 got: 2 (compared using ==)"),
        (SUITE, "Cart #total with two items subtracts", "failed", 1, "total is wrong second line"),
        (SUITE, "Cart #total with two items adds", "passed", 1, None),
        (SUITE, "Cart with a broken setup uses the database", "failed", 1, "the database isn't reachable"),
    ]


def test_failed_case() -> None:
    case = read_case(REPORT, "Cart #total with two items subtracts")

    assert (case.file, case.line, case.started_at) == ("./spec/cart/total_spec.rb", None, None)
    assert (case.type, case.message) == (NOT_MET, "\\e[31mtotal is wrong\\e[0m second line")
    assert case.details == (
        'Failure/Error: expect(1).to eq(3), "\\e[31mtotal is wrong\\e[0m\\nsecond line"\n\n'
        "  \\e[31mtotal is wrong\\e[0m\n  second line\n"
        "./spec/cart/total_spec.rb:7:in `block (4 levels) in <top (required)>'"
    )
    assert (case.output, case.properties, case.attempt_count) == ({}, {}, 1)


def test_texts_of_several_failures_are_not_in_the_report() -> None:
    case = read_case(REPORT, "Cart fails twice with both failures")

    assert (case.type, case.message, case.details) == (SEVERAL, SEVERAL, None)


def test_error_outside_of_the_examples_is_an_error_of_the_run() -> None:
    run = read_run(LOAD_ERROR)

    assert (run.cases, run.failures_missing) == ((), True)
    assert run.problems == ("errors: the report declares 1, but contains 0",)


def test_run(tmp_path: Path) -> None:
    assert run_times(REPORT, tmp_path) == ("2026-11-25T19:00:56.000Z", "2026-11-25T19:00:56.042Z", 42.536)
    assert read_run(REPORT).problems == ()


@needs_corpus
def test_failed_case_of_an_older_version() -> None:
    report = CORPUS / "rspec-buildkite-two-test-failures-junit-3.xml"
    case = read_case(report, "Account#maximum_jobs_added_by_pipeline_changer returns 250 by default")

    assert (case.suite, case.file, case.line) == (
        "rspec > spec.models.account_spec",
        "./spec/models/account_spec.rb",
        None,
    )
    assert (case.status, case.duration_ms, case.type) == ("failed", 967, NOT_MET)
    assert case.summary == "expected: 250 got: 500 (compared using eql?)"
    assert "./spec/models/account_spec.rb:78:in `block (3 levels) in <top (required)>'\n" in (case.details or "")
    run = read_run(report)
    assert (run.started_at, run.completed_at) == ("2018-04-18T23:29:42.000Z", "2018-04-18T23:30:31.290Z")
