"""The history of a case on its page: the strip, the chart of durations, and the failures of its newest results."""

from collections.abc import Callable, Sequence
from statistics import median_low
from typing import Final, NamedTuple

from service.console.charts import BarChart, HistoryStrip, duration_chart, history_strip
from service.console.formats import format_day, format_duration, format_rfc3339
from service.console.labels import RESULT_LABELS
from service.console.trends import ChartColumn
from service.domain.rows import ResultRow
from service.domain.statuses import EXECUTED, FAILING

_LISTED_FAILURES: Final = 10


class CaseFailures(NamedTuple):
    """The newest failing and flaky results. `total` also counts those that aren't listed."""

    items: Sequence[ResultRow]
    total: int


class CaseHistory(NamedTuple):
    """The newest results of a case. `p50_ms` is None if no result was executed with a known duration."""

    strip: HistoryStrip
    durations: BarChart
    columns: tuple[ChartColumn, ...]
    p50_ms: int | None
    failures: CaseFailures


def case_history(results: Sequence[ResultRow], p95_ms: int | None, result_url: Callable[[str], str]) -> CaseHistory:
    """Return the history of results, newest first."""
    durations = [_duration(result) for result in reversed(results)]
    p50_ms = median_low(known) if (known := [value for value in durations if value is not None]) else None
    return CaseHistory(
        history_strip(results, [result_url(result.id) for result in results]),
        duration_chart(durations, lines_ms={"p50": p50_ms, "p95": p95_ms}),
        tuple(map(_column, reversed(results))),
        p50_ms,
        _failures(results),
    )


def _failures(results: Sequence[ResultRow]) -> CaseFailures:
    failing = [result for result in results if result.status in FAILING or result.flaky]
    return CaseFailures(failing[:_LISTED_FAILURES], len(failing))


def _duration(result: ResultRow) -> int | None:
    """Return the duration of an executed result, on which the statistics of the API are based."""
    return result.duration_ms if result.status in EXECUTED else None


def _column(result: ResultRow) -> ChartColumn:
    status = "flaky" if result.flaky else result.status
    label = f"{format_day(result.completed_ms)} {format_rfc3339(result.completed_ms)[11:16]}"
    text = f"{format_duration(_duration(result))}, {RESULT_LABELS[status].text.lower()} in {result.run_id}"
    return ChartColumn(label, text, status)
