"""Reports of cargo-nextest 0.9.148 with `retries = 1`, and of an older version from the corpus."""

from pathlib import Path

from tests.reports.manifests import CORPUS, OWN
from tests.reports.tools.reading import needs_corpus, read_case, read_run
from tests.reports.tools.tables import rows_of, run_times

REPORT = OWN / "nextest" / "nextest-retries.xml"
EXIT_101 = "test failure with exit code 101"
NOTE = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"


def test_cases() -> None:
    assert rows_of(REPORT) == [
        ("shop", "tests::adds", "passed", 9, None),
        ("shop", "tests::discounts::größe_大", "failed", 13, "größe <ü> & 大"),
        ("shop", "tests::returns_error", "failed", 8, 'Error: "no stock\\nof apples"'),
        ("shop", "tests::sold_out", "failed", 18, "note: test did not panic as expected at src/lib.rs:22:8"),
        ("shop", "tests::subtracts", "failed", 28, "assertion `left == right` failed: total is wrong left: 1 right: 3"),
        ("shop::checkout", "aborts", "failed", 35, "process aborted with signal 6 (SIGABRT)"),
        ("shop::checkout", "flaky", "passed", 24, None),
        ("shop::checkout", "never_ends", "failed", 1_006, "test timeout"),
    ]


def test_executions_of_a_failed_case_are_in_the_order_of_their_times() -> None:
    case = read_case(REPORT, "tests::subtracts")

    first, second = case.attempts
    assert (first.status, first.duration_ms, first.started_at) == ("failed", 28, "2026-11-25T19:00:53.041Z")
    assert (second.status, second.duration_ms, second.started_at) == ("failed", 40, "2026-11-25T19:00:53.072Z")
    assert (first.type, second.type) == (EXIT_101, EXIT_101)
    assert first.message == "thread 'tests::subtracts' (6782) panicked at src/lib.rs:15:9"
    assert case.message == second.message == "thread 'tests::subtracts' (6786) panicked at src/lib.rs:15:9"
    assert case.details == (
        f"{case.message}:\nassertion `left == right` failed: total is wrong\nsecond line\n  left: 1\n right: 3\n{NOTE}"
    )
    assert (case.file, case.line, case.flaky, case.properties) == (None, None, False, {})
    assert case.started_at == "2026-11-25T19:00:53.041Z"


def test_output_of_the_executions() -> None:
    output = read_case(REPORT, "tests::subtracts").output

    assert sorted(output) == [
        "attempt-2-system-err.txt", "attempt-2-system-out.txt", "system-err.txt", "system-out.txt",
    ]  # fmt: skip
    assert output["system-out.txt"].startswith(
        "\nrunning 1 test\nloading the price list\ntest tests::subtracts ... FAIL"
    )
    assert output["system-err.txt"].startswith("\nthread 'tests::subtracts' (6782) panicked at src/lib.rs:15:9:\n")
    assert output["attempt-2-system-err.txt"].startswith("\nthread 'tests::subtracts' (6786) panicked at src/lib.rs")


def test_flaky_case() -> None:
    case = read_case(REPORT, "flaky")

    first, second = case.attempts
    assert (case.flaky, case.attempt_count, case.duration_ms) == (True, 2, 24)
    assert (first.status, first.duration_ms, first.started_at) == ("failed", 28, "2026-11-25T19:00:53.113Z")
    assert (second.status, second.duration_ms, second.started_at) == ("passed", 24, "2026-11-25T19:00:53.144Z")
    assert first.details == (
        f"thread 'flaky' (6791) panicked at tests/checkout.rs:9:9:\nconnection reset by peer\n{NOTE}"
    )
    assert case.output["attempt-1-system-err.txt"].startswith("retrying the connection\n\nthread 'flaky' (6791)")


def test_timeout_has_only_a_type() -> None:
    case = read_case(REPORT, "never_ends")

    assert (case.type, case.message, case.details) == ("test timeout", None, None)
    assert [attempt.duration_ms for attempt in case.attempts] == [1_006, 1_003]


def test_run(tmp_path: Path) -> None:
    assert run_times(REPORT, tmp_path) == ("2026-11-25T19:00:53.012Z", "2026-11-25T19:00:55.179Z", 2_167)
    assert read_run(REPORT).problems == ()


@needs_corpus
def test_cases_of_an_older_version() -> None:
    report = CORPUS / "nextest-mikepenz.xml"
    suite = "oxidized_navigation::parry3d"

    assert rows_of(report) == [
        (suite, "test_failure", "failed", 774, "assertion `left == right` failed: 0 must equal 1 left: 0 right: 1"),
        (suite, "test_simple_navigation", "passed", 944, None),
        (suite, "test_annotations", "passed", 945, None),
    ]
    case = read_case(report, "test_failure")
    assert (case.type, case.started_at) == ("test failure", "2024-12-02T20:06:10.513Z")
    assert list(case.output) == ["system-out.txt", "system-err.txt"]
    run = read_run(report)
    assert (run.started_at, run.completed_at) == ("2024-12-02T20:06:10.512Z", "2024-12-02T20:06:11.458Z")
