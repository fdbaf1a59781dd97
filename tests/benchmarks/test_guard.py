"""Tests that the service isn't slower than the committed ratios, and of their comparison."""

import pytest

from benchmarks.guard.comparison import SHORT_FORMS, committed_ratios, compare, explain


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", SHORT_FORMS)
def test_ratios_are_not_much_lower_than_the_committed_ones(benchmark: str) -> None:
    compared = compare(benchmark, SHORT_FORMS[benchmark], committed_ratios()[benchmark])
    print("\n".join(ratio.describe() for ratio in compared))
    slower = [ratio for ratio in compared if ratio.is_slower]
    assert not slower, explain(slower)


def test_low_ratio_is_measured_again_and_the_higher_one_counts() -> None:
    measurements = iter([{"list": 1.0, "by_id": 1.9}, {"list": 1.8, "by_id": 1.0}])
    compared = compare("requests", lambda: next(measurements), {"list": 2.0, "by_id": 2.0})
    assert [(ratio.measured, ratio.is_slower) for ratio in compared] == [(1.8, False), (1.9, False)]


def test_sufficient_ratio_is_measured_once() -> None:
    measurements = iter([{"list": 1.5}])
    assert not compare("requests", lambda: next(measurements), {"list": 2.0})[0].is_slower


def test_message_names_the_slower_ratio_and_the_command_that_replaces_it() -> None:
    slower = compare("requests", lambda: {"list": 1.0}, {"list": 2.0})
    assert slower[0].is_slower
    message = explain(slower)
    assert "requests.list: measured 1.000, committed 2.000, limit 1.300" in message
    assert "2.0 times as much CPU time" in message
    assert "python -m benchmarks.guard requests --write" in message
