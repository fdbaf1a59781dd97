"""Trends per day: statistics to the columns of charts and the totals of the range.

A chart starts on the first day with runs, so that a new project has no empty half. Days without runs after it are gaps.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.console.charts import BarChart, LineChart, duration_chart, fill_buckets, rate_chart
from service.console.formats import format_day, format_duration, format_plural
from service.domain.texts import format_rate
from service.stats.model import LENGTHS_MS, StatsBucketRow, bucket_start
from service.stats.operations import Statistics

_DAY_MS: Final = LENGTHS_MS["day"]


class ChartColumn(NamedTuple):
    """The label and the text of a column of a chart. `status` selects the color of a bar."""

    label: str
    text: str
    status: str | None = None


class RateTrend(NamedTuple):
    """The shares of passed results of consecutive days, and the totals of all days."""

    chart: LineChart
    columns: tuple[ChartColumn, ...]
    runs: int
    failed_runs: int
    passed: int
    executed: int


class DurationTrend(NamedTuple):
    """The median and the 95th percentile of the durations of the runs of consecutive days."""

    chart: BarChart
    columns: tuple[ChartColumn, ...]


def rate_trend(stats: Statistics) -> RateTrend:
    """Return the trend of statistics with the interval `day` and without groups."""
    start_ms, days = _days(stats)
    columns = tuple(_column(start_ms + index * _DAY_MS, day) for index, day in enumerate(days))
    chart = rate_chart([day.pass_rate if day else None for day in days])
    passed = sum(bucket.counts.passed for bucket in stats.buckets)
    executed = passed + sum(bucket.counts.failed + bucket.counts.error for bucket in stats.buckets)
    return RateTrend(
        chart,
        columns,
        sum(bucket.runs for bucket in stats.buckets),
        sum(bucket.failed_runs for bucket in stats.buckets),
        passed,
        executed,
    )


def duration_trend(stats: Statistics) -> DurationTrend:
    """Return the durations of statistics with the interval `day` and without groups."""
    start_ms, days = _days(stats)
    medians = [day.duration_p50_ms if day else None for day in days]
    uppers = [day.duration_p95_ms if day else None for day in days]
    columns = tuple(_duration_column(start_ms + index * _DAY_MS, day) for index, day in enumerate(days))
    return DurationTrend(duration_chart(medians, uppers), columns)


def _days(stats: Statistics) -> tuple[int, Sequence[StatsBucketRow | None]]:
    """Return the start of the first day with runs, and the bucket of each day from then on."""
    buckets = {bucket.start_ms: bucket for bucket in stats.buckets}
    start_ms = min(buckets, default=bucket_start(stats.to_ms, "day"))
    return start_ms, fill_buckets(buckets, start_ms, stats.to_ms, _DAY_MS)


def _column(start_ms: int, bucket: StatsBucketRow | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    runs = f"{format_plural(bucket.runs, 'run')}, {bucket.failed_runs:,} failed"
    if bucket.pass_rate is None:
        return ChartColumn(label, f"no executed results, {runs}")
    executed = bucket.counts.passed + bucket.counts.failed + bucket.counts.error
    share = format_rate(bucket.pass_rate) if executed > 1 else f"{bucket.counts.passed}"
    return ChartColumn(label, f"{share} of {format_plural(executed, 'result')} passed, {runs}")


def _duration_column(start_ms: int, bucket: StatsBucketRow | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    if bucket.duration_p50_ms is None:
        return ChartColumn(label, "no known duration")
    median, upper = format_duration(bucket.duration_p50_ms), format_duration(bucket.duration_p95_ms)
    of_runs = f"median {median}, 95th percentile {upper}" if bucket.runs > 1 else median
    return ChartColumn(label, f"{of_runs}, {format_plural(bucket.runs, 'run')}")
