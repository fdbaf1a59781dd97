"""Trends per day: statistics of the API to the columns of charts and the totals of the range."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from service.console.charts import BarChart, LineChart, duration_chart, fill_buckets, rate_chart
from service.console.formats import format_day, format_duration, format_plural, format_rate
from service.domain.stats import LENGTHS_MS, bucket_start

_DAY_MS: Final = LENGTHS_MS["day"]


class ChartColumn(NamedTuple):
    """The label and the text of a column of a chart. `status` selects the color of a bar."""

    label: str
    text: str
    status: str | None = None


class RateTrend(NamedTuple):
    """The pass rates of consecutive days, and the totals of all days."""

    chart: LineChart
    columns: tuple[ChartColumn, ...]
    runs: int
    failed_runs: int
    pass_rate: float | None


class DurationTrend(NamedTuple):
    """The median and the 95th percentile of the durations of the runs of consecutive days."""

    chart: BarChart
    columns: tuple[ChartColumn, ...]


def rate_trend(stats: Mapping[str, Any]) -> RateTrend:
    """Return the trend of statistics with the interval `day` and without groups. Days without runs are gaps."""
    start_ms, days = _days(stats)
    columns = tuple(_column(start_ms + index * _DAY_MS, day) for index, day in enumerate(days))
    chart = rate_chart([day["pass_rate"] if day else None for day in days])
    executed = sum(bucket[name] for bucket in stats["data"] for name in ("passed", "failed", "error"))
    return RateTrend(
        chart,
        columns,
        _total(stats, "runs"),
        _total(stats, "failed_runs"),
        _total(stats, "passed") / executed if executed else None,
    )


def duration_trend(stats: Mapping[str, Any]) -> DurationTrend:
    """Return the durations of statistics with the interval `day` and without groups. Days without runs are gaps."""
    start_ms, days = _days(stats)
    medians = [day["duration_p50_ms"] if day else None for day in days]
    uppers = [day["duration_p95_ms"] if day else None for day in days]
    columns = tuple(_duration_column(start_ms + index * _DAY_MS, day) for index, day in enumerate(days))
    return DurationTrend(duration_chart(medians, uppers), columns)


def _days(stats: Mapping[str, Any]) -> tuple[int, Sequence[Mapping[str, Any] | None]]:
    """Return the start of the first day, and the bucket of each day."""
    buckets = {to_ms(bucket["start"]): bucket for bucket in stats["data"]}
    start_ms = bucket_start(to_ms(stats["from"]), "day")
    return start_ms, fill_buckets(buckets, start_ms, to_ms(stats["to"]), _DAY_MS)


def to_ms(time: str) -> int:
    """Return a time of the API in ms since 1970."""
    return round(datetime.fromisoformat(time).astimezone(UTC).timestamp() * 1000)


def _total(stats: Mapping[str, Any], name: str) -> int:
    return sum(bucket[name] for bucket in stats["data"])


def _column(start_ms: int, bucket: Mapping[str, Any] | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    runs = f"{format_plural(bucket['runs'], 'run')}, {bucket['failed_runs']:,} failed"
    if bucket["pass_rate"] is None:
        return ChartColumn(label, f"no executed results, {runs}")
    return ChartColumn(label, f"{format_rate(bucket['pass_rate'])} passed, {runs}")


def _duration_column(start_ms: int, bucket: Mapping[str, Any] | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    if bucket["duration_p50_ms"] is None:
        return ChartColumn(label, "no known duration")
    median, upper = format_duration(bucket["duration_p50_ms"]), format_duration(bucket["duration_p95_ms"])
    return ChartColumn(label, f"median {median}, 95th percentile {upper}")
