"""Tests of the histories that are read from public data sets."""

from benchmarks.flakiness.ours import CurrentRules
from benchmarks.flakiness.real import describe, find_failures, read_histories

HEADER = "Id;Name;BuildId;LastRun;Verdict;Cycle\n"  # codespell:ignore verdict - the name of the column


def rows(outcomes: str, name: str) -> str:
    """Return a result per outcome, one per minute and run: `f` failed, `p` passed, `-` none."""
    return "".join(
        f"0;{name};{run};2020-01-01 00:{run:02}:00;{int(outcome == 'f')};{run // 2}\n"
        for run, outcome in enumerate(outcomes)
        if outcome != "-"
    )


def test_results_of_one_run_and_its_time() -> None:
    later = rows("pf", "a").replace("00:00:00", "00:05:00")  # the first build ended last
    (history,) = read_histories(HEADER + later + rows("pp", "a"))
    assert [outcome.status for outcome in history.outcomes] == ["failed_finally", "passed"]
    assert [(run.hours * 60, run.executed, run.failed) for run in history.runs] == [(0, 1, 1), (4, 1, 0)]


def test_judged_failures() -> None:
    histories = read_histories(HEADER + rows("p" * 20 + "f-fpfp", "a") + rows("f" + "p" * 18 + "f-f", "b"))
    failures = [failure for history in histories for failure in find_failures(history)]
    assert [(each.history.case, each.position, each.failed_next) for each in failures] == [
        ("a", 19, True),
        ("a", 21, False),
        ("a", 23, False),
    ]
    row = describe(CurrentRules(), histories, failures)
    assert row[1:] == ["0 · 2 · 0", "1 (1)", "0 (0)", "2 (0)"]
