"""Tests that the histories are reproducible and labeled right, and of each rule on short histories."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.flakiness.histories import (
    EXECUTED,
    RUNS_PER_DAY,
    Branch,
    History,
    Outcome,
    Run,
    State,
    Status,
    generate,
)
from benchmarks.flakiness.measures import combine, measure
from benchmarks.flakiness.ours import CurrentRules, OldRules
from benchmarks.flakiness.pulls import STRATA, Cause, Failure, generate_failures
from benchmarks.flakiness.rules import Rule
from benchmarks.flakiness.vendors import Buildkite, Datadog, Harness, Luci, Trunk

_STATUSES: dict[str, tuple[Status, int]] = {
    "P": ("passed", 1),
    "F": ("failed_finally", 3),
    "R": ("flaky", 2),
    "S": ("skipped", 0),
    "-": ("missing", 0),
}


@pytest.fixture(scope="module")
def branch() -> Branch:
    return generate(seed=7, cases=250, runs=300, ten_percent_flakes=5)


def history(letters: str, failing_share: float = 0.0) -> History:
    """Return a history with one run and commit per letter; F! is a failure in an outage."""
    outcomes: list[Outcome] = []
    runs: list[Run] = []
    for letter in letters.replace("F!", "O"):
        number = len(outcomes)
        failed = 95 if letter == "O" else round(100 * failing_share)
        outcomes.append(Outcome(number, *_STATUSES["F" if letter == "O" else letter], f"c{number}"))
        runs.append(Run(number, f"c{number}", number * 24 / RUNS_PER_DAY, 100, failed))
    return History("case", "", tuple(outcomes), tuple(runs))


def test_histories_depend_only_on_the_seed(branch: Branch) -> None:
    again, other = (generate(seed, cases=250, runs=300, ten_percent_flakes=5) for seed in (7, 8))
    outcomes = [case.history.outcomes for case in branch.cases]
    assert [case.history.outcomes for case in again.cases] == outcomes
    assert [case.truth for case in again.cases] == [case.truth for case in branch.cases]
    assert [case.history.outcomes for case in other.cases] != outcomes
    failures, same = (generate_failures(each, 7, 5) for each in (branch, again))
    assert [each[1:] for each in failures] == [each[1:] for each in same]


def test_labels_explain_the_outcomes(branch: Branch) -> None:
    disturbed = {run.number for run in branch.runs if run.failed > 0.2 * run.executed}
    for case in branch.cases:
        assert len(case.truth) == len(case.history.outcomes) == len(branch.runs)
        for outcome, truth in zip(case.history.outcomes, case.truth, strict=True):
            assert (outcome.attempts > 0) == (outcome.status in EXECUTED)
            if truth is None:
                assert outcome.status == "missing"
            elif truth == "broken" and outcome.status in EXECUTED:
                assert outcome.status == "failed_finally"
            elif truth == "healthy" and outcome.run not in disturbed:
                assert outcome.status in {"passed", "skipped", "missing"}


def test_a_state_changes_only_with_a_new_commit(branch: Branch) -> None:
    for case in branch.cases:
        for run in range(1, len(branch.runs)):
            if case.truth[run] != case.truth[run - 1] and None not in case.truth[run - 1 : run + 1]:
                assert branch.runs[run].commit != branch.runs[run - 1].commit


def test_outages_fail_in_most_cases_and_each_state_exists(branch: Branch) -> None:
    for span in branch.outages:
        assert all(run.failed > 0.8 * run.executed for run in branch.runs[span.begin : span.end])
    assert {case.truth[-1] for case in branch.cases} == {"healthy", "flaky", "broken", None}


def test_failures_of_pull_requests_have_the_label_of_their_stratum(branch: Branch) -> None:
    failures = generate_failures(branch, seed=7, per_stratum=5)
    assert {each.stratum for each in failures} == set(STRATA)
    for each in failures:
        truth = each.case.truth[each.failure.position]
        assert each.label == ("new" if each.stratum.startswith("real") else each.stratum.partition("_")[0])
        assert each.stratum != "known" or truth == "broken"
        assert not each.stratum.startswith("flaky") or truth == "flaky"


BREAK = "P" * 100 + "F" * 6
REPAIRED = BREAK + "P" * 12
RETRIED = "PPPPPPPPPR" * 10 + "P"
NOT_RETRIED = "PPPPPPPPPF" * 12 + "PP"
OUTAGES = "P" * 40 + "F!" + "P" * 10 + "F!" + "P" * 20


@pytest.mark.parametrize(
    ("rule", "letters", "state", "cause"),
    [
        (CurrentRules, BREAK, "broken", "known"),
        (CurrentRules, BREAK + "F!", "broken", "known"),
        (CurrentRules, REPAIRED, "healthy", "new"),
        (CurrentRules, RETRIED, "flaky", "flaky"),
        (CurrentRules, NOT_RETRIED, "flaky", "flaky"),
        (CurrentRules, OUTAGES, "healthy", "new"),
        (OldRules, BREAK, "broken", "known"),
        (OldRules, REPAIRED, "flaky", "flaky"),  # the reason for other rules
        (OldRules, NOT_RETRIED, "flaky", "flaky"),
        (Luci, BREAK, "broken", "known"),
        (Luci, REPAIRED, "healthy", "new"),  # no commit has both, and 10 newer results passed
        (Luci, RETRIED, "flaky", "flaky"),
        (Luci, NOT_RETRIED, "flaky", "new"),
        (Trunk, BREAK, "broken", "known"),
        (Trunk, RETRIED, "flaky", "flaky"),
        (Trunk, NOT_RETRIED, "flaky", "flaky"),
        (Trunk, OUTAGES, "healthy", "new"),
        (Buildkite, BREAK, "healthy", "new"),
        (Buildkite, REPAIRED, "healthy", "new"),
        (Buildkite, RETRIED, "flaky", "flaky"),
        (Buildkite, NOT_RETRIED, "flaky", "flaky"),
        (Buildkite, "R" + "P" * 84 + "F", "healthy", "new"),  # 7 days
        (Datadog, BREAK, "healthy", "new"),
        (Datadog, "R" + "F" * 90, "broken", "flaky"),
        (Datadog, RETRIED, "flaky", "flaky"),
        (Datadog, "R" + "P" * 359, "flaky", "flaky"),
        (Datadog, "R" + "P" * 360, "healthy", "new"),  # 30 days
        (Harness, BREAK, "healthy", "new"),
        (Harness, "PPR" + "P" * 4, "flaky", "flaky"),
        (Harness, "PPR" + "P" * 5, "healthy", "new"),
        (Harness, "PPR" + "P" * 5 + "F", "healthy", "new"),
        (Harness, NOT_RETRIED, "healthy", "new"),
    ],
)
def test_published_rules(rule: Callable[[], Rule], letters: str, state: State, cause: Cause) -> None:
    of_case = history(letters)
    position = len(of_case.runs) - 1
    assert rule().state_at(of_case, position) == state
    assert rule().cause_of(of_case, Failure(position, attempts=1)) == cause


@pytest.mark.parametrize("rule", [CurrentRules, OldRules, Luci, Trunk, Buildkite, Datadog, Harness])
def test_rules_see_no_later_run(rule: Callable[[], Rule], branch: Branch) -> None:
    for case in branch.cases[:40]:
        outcomes, runs = case.history.outcomes[:200], case.history.runs[:200]
        until = History(case.history.case, case.history.variant, outcomes, runs)
        assert rule().state_at(until, 199) == rule().state_at(case.history, 199)


def test_measures_of_a_rule_that_always_says_healthy(branch: Branch) -> None:
    class Healthy(Rule):
        name = "healthy"

        def state_at(self, history: History, position: int) -> State:
            return "healthy"

    measured = measure(Healthy(), branch, generate_failures(branch, seed=7, per_stratum=5))
    assert measured.f1["flaky"] == measured.f1["broken"] == 0
    assert (measured.wrong_new, measured.wrong_flaky) == (1, 0)
    assert (measured.outage_changes, measured.broken_quarantined, measured.break_found) == (0, 0, 0)
    assert measured.to_json()["flake_median_runs"] is None


def test_combined_medians_are_medians(branch: Branch) -> None:
    measured = measure(OldRules(), branch, generate_failures(branch, seed=7, per_stratum=2))
    of_seeds = [replace(measured, break_median_failures=median, breaks=9) for median in (2, 1, 2.5)]
    combined = combine(of_seeds)
    assert (combined.break_median_failures, combined.breaks) == (2, 27)


@pytest.mark.slow
def test_command_prints_json_that_depends_only_on_the_seed() -> None:
    options = ["--seed", "3", "--cases", "40", "--runs", "200", "--failures", "2", "--json"]
    command = [sys.executable, "-m", "benchmarks.flakiness", *options]
    first, second = (subprocess.run(command, capture_output=True, check=True, text=True).stdout for _ in range(2))
    assert first == second
    assert OldRules.name in json.loads(first)["rules"]
