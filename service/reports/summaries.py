"""The summary of the reports of one upload, which are one event."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from service.reports.convert import ReportSummary


def combine(summaries: Sequence[ReportSummary], names: Sequence[str | None]) -> ReportSummary:
    """Combine the summaries of all reports.

    If several reports set a field of the run, the first report wins. A note begins with the name of its report.
    """
    if len(summaries) == 1:
        return summaries[0]
    declared: Counter[str] = Counter()
    notes: list[str] = []
    for name, summary in zip(names, summaries, strict=True):
        declared.update(summary.declared)
        notes += [f"{name}: {note}" for note in summary.notes]
    return ReportSummary(
        format=summaries[0].format,
        results=sum(summary.results for summary in summaries),
        rows=sum(summary.rows for summary in summaries),
        run=first_fields([summary.run for summary in summaries]),
        times=tuple(times for summary in summaries for times in summary.times),
        declared=declared,
        notes=tuple(notes),
        failures_missing=any(summary.failures_missing for summary in summaries),
    )


def first_fields(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of all runs. If several runs have a field, the first one wins."""
    return {name: value for run in reversed(runs) for name, value in run.items()}
