"""Automatic quarantine in a simulated year: which flakes it finds and releases, and its limit."""

import pytest

from benchmarks.flakiness.histories import generate
from benchmarks.flakiness.year import Year, find_breaks, find_flakes, is_quarantined, is_released, simulate
from service.quarantines.model import QuarantinePolicy

_RUNS_PER_DAY = 4
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def years() -> list[Year]:
    """A year with a share that holds all flakes, and one with a smaller share."""
    runs = 365 * _RUNS_PER_DAY
    branch = generate(21, cases=250, runs=runs, ten_percent_flakes=0, runs_per_day=_RUNS_PER_DAY)
    return simulate(branch, [QuarantinePolicy(share, days=14, release_after_runs=50) for share in (1.0, 0.05)])


def test_flakes_are_quarantined_and_released_without_a_person(years: list[Year]) -> None:
    year, _ = years
    flakes = list(find_flakes(year, least_rate=0.05))
    handled = [is_quarantined(year, *each) and is_released(year, *each) is not False for each in flakes]
    ended = [released for each in flakes if (released := is_released(year, *each)) is not None]
    print(f"{sum(handled)} of {len(handled)} flakes quarantined and released; {sum(ended)} of {len(ended)} ended")
    assert sum(handled) >= 0.9 * len(handled) > 20
    assert sum(ended) >= 0.9 * len(ended) > 2
    assert max(year.waiting) == 0


def test_no_broken_case_is_quarantined(years: list[Year]) -> None:
    year, _ = years
    breaks = list(find_breaks(year))
    assert len(breaks) > 30
    assert [each for each in breaks if is_quarantined(year, *each)] == []


def test_smaller_share_is_never_exceeded(years: list[Year]) -> None:
    _, year = years
    active = [len(quarantined) for quarantined in year.quarantined]
    print(f"at most {max(active)} active, {max(year.waiting)} waiting, limit {min(year.limits)} to {max(year.limits)}")
    assert max(active) == max(year.limits) <= 0.05 * max(run.executed for run in year.branch.runs)
    assert max(year.waiting) > 5
