"""Tests of the histories and the ratios of the benchmark of splits."""

import pytest

from benchmarks.split_balance import Run, expect, generate, measure, percentile, read_history

CALM = (0.05, 0.001)


def test_suites_are_reproducible_and_change() -> None:
    runs = generate(7, CALM)
    assert generate(7, CALM) == runs != generate(8, CALM)
    assert runs[0].actual_ms.keys() != runs[-1].actual_ms.keys()
    assert all(run.measured_ms.keys() == run.actual_ms.keys() == run.typical_ms.keys() for run in runs)


@pytest.mark.parametrize(("quantile", "expected_ms"), [(0.5, 20), (0.75, 30), (0.9, 40)])
def test_expected_duration_is_a_quantile_of_the_runs_that_executed_an_item(quantile: float, expected_ms: int) -> None:
    values = [{"a": 30, "b": 7}, {"a": 10}, {"a": 40}, {"a": 20}]
    assert expect([Run(value, value, value) for value in values], quantile) == {"a": expected_ms, "b": 7}


def test_ratio_of_equal_items_is_1_and_of_unknown_ones_more() -> None:
    equal = {f"test_{number:02}": 1_000 for number in range(64)}
    unequal = {name: 1_000 if number % 2 else 3_000 for number, name in enumerate(equal)}
    runs = [Run(durations, durations, durations) for durations in (equal, equal, unequal)]
    same, changed = (list(measure(runs[:last], 1, 0.75, 1)) for last in (2, 3))
    assert {(one.ratio, one.informed, one.alphabetical) for one in same} == {(1, 1, 1)}
    assert max(one.ratio for one in changed) == 1.5
    assert {one.informed for one in changed} == {1}


def test_plan_from_a_calm_history_is_near_the_plan_that_knows_typical_durations() -> None:
    measured = list(measure(generate(3, CALM), 20, 0.75, 10))
    assert len(measured) == 50
    for column in ("ratio", "alphabetical"):
        assert all(getattr(one, column) >= 1 for one in measured)
    p95 = {name: percentile([getattr(one, name) for one in measured], 0.95) for name in ("ratio", "informed")}
    assert p95["ratio"] <= p95["informed"] * 1.05
    assert percentile([one.alphabetical for one in measured], 0.5) > 1.1


def test_real_histories_have_a_run_per_cycle_and_build() -> None:
    text = "Name;Duration;Cycle;BuildId\nb;0.5;2;1\na;0.25;1;1\na;0.5;1;1\na;1;1;2\n"
    assert [run.actual_ms for run in read_history(text)] == [{"a": 750}, {"a": 1_000}, {"b": 500}]
