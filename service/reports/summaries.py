"""The summary of the reports of one upload, which are one event."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from service.reports.convert import ReportSummary


def combine(summaries: Sequence[ReportSummary], names: Sequence[str | None]) -> ReportSummary:
    """Combine the summaries of all reports. The run lasts from the earliest start to the latest end.

    The start is unknown if that of a report with results is: otherwise, the run could be shorter than one of its tests.
    If several reports set a field of the run, the first report wins. A note begins with the name of its report.
    """
    if len(summaries) == 1:
        return summaries[0]
    declared: Counter[str] = Counter()
    notes: list[str] = []
    for name, summary in zip(names, summaries, strict=True):
        declared.update(summary.declared)
        notes += [f"{name}: {note}" for note in summary.notes]
    starts = [summary.started_at for summary in summaries if summary.results]
    return ReportSummary(
        format=summaries[0].format,
        results=sum(summary.results for summary in summaries),
        rows=sum(summary.rows for summary in summaries),
        run=first_fields([summary.run for summary in summaries]),
        started_at=None if None in starts else min(_times(starts), default=None),
        completed_at=max(_times(summary.completed_at for summary in summaries), default=None),
        duration_ms=None,  # without a start and an end, durations of several reports can overlap
        declared=declared,
        notes=tuple(notes),
        failures_missing=any(summary.failures_missing for summary in summaries),
    )


def first_fields(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of all runs. If several runs have a field, the first one wins."""
    return {name: value for run in reversed(runs) for name, value in run.items()}


def _times(times: Iterable[datetime | None]) -> list[datetime]:
    return [time for time in times if time is not None]
