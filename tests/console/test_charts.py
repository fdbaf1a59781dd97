"""Tests of the geometry of charts."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.console.charts import (
    CELL_HEIGHT,
    WIDTH,
    StripItem,
    count_segments,
    describe_counts,
    duration_chart,
    history_strip,
    line_chart,
    nice_ceiling_ms,
    rate_chart,
)
from service.domain.statuses import Counts, ResultStatus
from service.results.pages import strip_item
from service.stats.model import StatsBucketRow
from service.stats.operations import Statistics
from service.stats.pages import duration_trend, rate_trend
from tests.console.rows import result_row

STATUSES: tuple[ResultStatus, ...] = ("passed", "failed", "error", "skipped", "canceled")
COUNTS = st.builds(Counts, **{status: st.integers(0, 10**9) for status in STATUSES}, flaky=st.just(0))
RATES = st.lists(st.none() | st.floats(0, 1), max_size=60)


DAY_MS = 86_400_000
START_MS = 1_779_235_200_000  # 2026-05-20
DAY = StatsBucketRow(START_MS, None, 2, 1, Counts(passed=3, failed=1), 0.75, None, None)


def item(status: ResultStatus, run_id: str = "run_1", *, flaky: bool = False, href: str = "/old") -> StripItem:
    return strip_item(result_row(status, run_id, flaky=flaky), href)


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


@given(COUNTS)
def test_segments_fill_the_bar_without_gaps_and_are_visible(counts: Counts) -> None:
    segments = count_segments(counts)
    assert {segment.status for segment in segments} == {status for status, count in counts._asdict().items() if count}
    if segments:
        assert segments[0].x == 0
        assert sum(segment.width for segment in segments) == pytest.approx(WIDTH, abs=0.1)
    for previous, segment in pairwise(segments):
        assert segment.x == pytest.approx(previous.x + previous.width, abs=0.02)
    assert all(segment.width >= 2 for segment in segments)


@given(COUNTS)
def test_larger_counts_have_wider_segments(counts: Counts) -> None:
    segments = sorted(count_segments(counts), key=lambda segment: segment.results)
    assert [segment.width for segment in segments] == sorted(segment.width for segment in segments)


def test_flaky_results_are_part_of_the_passed_results() -> None:
    segments = count_segments(Counts(passed=10, flaky=4))
    assert {segment.status: segment.results for segment in segments} == {"passed": 6, "flaky": 4}
    assert describe_counts(Counts(passed=10, flaky=4)) == "10 passed (4 flaky)"


def test_counts_without_results_have_no_segment() -> None:
    assert count_segments(Counts()) == ()
    assert describe_counts(Counts()) == "No results"


def test_history_is_shown_from_the_oldest_to_the_newest_result() -> None:
    strip = history_strip([item("failed", "run_2", href="/new"), item("passed")])
    assert [(cell.status, cell.href) for cell in strip.cells] == [("passed", "/old"), ("failed", "/new")]
    assert strip.cells[0].title == "Passed in run_1, 2026-05-20 12:00 UTC"
    assert strip.summary == "Last 2 results: 1 passed, 1 failed"
    assert history_strip([item("failed")]).summary == "Last 1 result: 1 failed"


def test_each_status_has_its_own_shape() -> None:
    cells = [*(history_strip([item(status)]).cells[0] for status in STATUSES)]
    cells += history_strip([item("passed", flaky=True)]).cells
    assert len({cell.path for cell in cells}) == len(cells) == 6


def test_cells_are_inside_the_strip_and_do_not_overlap() -> None:
    strip = history_strip([item(STATUSES[index % 5]) for index in range(100)])
    ends = [(min(numbers(cell.path)[::2]), max(numbers(cell.path)[::2])) for cell in strip.cells]
    assert all(right < left for (_, right), (left, _) in pairwise(ends))
    assert ends[-1][1] == strip.width
    assert all(0 <= y <= CELL_HEIGHT for cell in strip.cells for y in numbers(cell.path)[1::2])


def test_history_without_results_is_empty() -> None:
    assert history_strip([]).cells == ()
    assert history_strip([]).summary == "No results"


def test_line_is_interrupted_where_nothing_was_measured() -> None:
    chart = line_chart([0.5, 1, None, 0, None], 0, 1)
    assert chart.line == "M10 50L30 0M70 100"
    assert chart.area == "M10 50L30 0L30 100L10 100Z"
    assert [point.column for point in chart.points] == [0, 1, 3]


@given(RATES)
def test_rates_are_inside_the_chart(rates: list[float | None]) -> None:
    chart = rate_chart(rates)
    assert len(chart.points) == sum(rate is not None for rate in rates)
    assert all(0 <= point.x <= 100 and 0 <= point.y <= 100 for point in chart.points)


def test_axis_of_rates_starts_at_a_rounded_minimum() -> None:
    assert [rate_chart([rate]).floor for rate in (1, 0.95, 0.93, 0.5, 0.1)] == [0.95, 0.95, 0.9, 0.5, 0]


def test_missing_durations_have_no_bar() -> None:
    chart = duration_chart([1_000, None, 500], lines_ms={"p95": 900, "p50": None})
    assert [(bar.column, bar.y) for bar in chart.bars] == [(0, 0), (2, 50)]
    assert [(line.label, line.y) for line in chart.lines] == [("p95", 10)]
    assert chart.ceiling_ms == 1_000


def test_bar_is_extended_to_its_upper_value() -> None:
    chart = duration_chart([500, 500], [1_000, None])
    assert [(bar.y, bar.upper_y) for bar in chart.bars] == [(50, 0), (50, 50)]


def test_chart_without_values_has_an_axis() -> None:
    assert duration_chart([]).ceiling_ms == 1
    assert duration_chart([None]).bars == ()
    assert rate_chart([]).line == ""


@given(st.integers(0, 10**12))
def test_maximum_of_the_axis_is_not_below_the_values(maximum_ms: int) -> None:
    assert maximum_ms <= nice_ceiling_ms(maximum_ms) <= max(1, 5 * maximum_ms)


def test_bars_of_few_columns_are_narrow_and_centered() -> None:
    [bar] = duration_chart([500]).bars
    assert (bar.x, bar.width) == (46, 8)
    assert duration_chart([500] * 50).bars[1].x == pytest.approx(2 + 0.28, abs=0.01)


def test_trend_starts_on_the_first_day_with_runs() -> None:
    statistics = Statistics([DAY], START_MS - 20 * DAY_MS, START_MS + 2 * DAY_MS, truncated=False)
    assert [column.label for column in rate_trend(statistics).columns] == ["May 20", "May 21"]
    assert len(duration_trend(statistics).columns) == 2
    assert rate_trend(statistics._replace(buckets=[])).chart.line == ""


def test_trend_has_every_day_from_the_first_run_on() -> None:
    last = DAY._replace(start_ms=START_MS + 2 * DAY_MS, counts=Counts(passed=1), pass_rate=1.0)
    trend = rate_trend(Statistics([DAY, last], START_MS + DAY_MS // 2, START_MS + 3 * DAY_MS, truncated=False))
    assert [column.label for column in trend.columns] == ["May 20", "May 21", "May 22"]
    assert [column.text for column in trend.columns] == [
        "75% of 4 results passed, 2 runs, 1 failed",
        "no runs",
        "1 of 1 result passed, 2 runs, 1 failed",
    ]
    assert [point.column for point in trend.chart.points] == [0, 2]
    assert (trend.runs, trend.failed_runs, trend.passed, trend.executed) == (4, 2, 4, 5)


def test_duration_of_one_run_is_no_median() -> None:
    day = DAY._replace(duration_p50_ms=1_000, duration_p95_ms=2_000)
    days = [day, day._replace(start_ms=START_MS + DAY_MS, runs=1, duration_p50_ms=900, duration_p95_ms=900)]
    trend = duration_trend(Statistics(days, START_MS, START_MS + 2 * DAY_MS, truncated=False))
    assert [column.text for column in trend.columns] == ["median 1s, 95th percentile 2s, 2 runs", "900ms, 1 run"]


def test_day_without_executed_results_has_no_rate() -> None:
    empty = DAY._replace(counts=Counts(), pass_rate=None)
    trend = rate_trend(Statistics([empty], START_MS, START_MS + DAY_MS, truncated=False))
    assert trend.executed == 0
    assert trend.columns[0].text == "no executed results, 2 runs, 1 failed"
    assert trend.chart.points == ()
