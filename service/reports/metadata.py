"""The metadata of a report: its format, its run, and the numbers of results that it declares."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from service.domain.report_formats import ReportFormatName

FAILURE_COUNTS: Final = ("failures", "errors")
_COUNTED: Final = ("tests", *FAILURE_COUNTS, "skipped")


@dataclass(slots=True)
class ReportMetadata:
    """The metadata of one report. A reader fills it while it reads; it is complete after the last result."""

    format: ReportFormatName = "junit"
    run: dict[str, Any] = field(default_factory=dict)  # unvalidated fields of RunIn
    started_at: datetime | None = None
    completed_at: datetime | None = None
    declared: dict[str, int] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    declares_failures: bool = False
    contains_failures: bool = False

    @property
    def failures_missing(self) -> bool:
        """Whether the report declares failing tests but contains no failure. A failure of an earlier attempt counts."""
        return self.declares_failures and not self.contains_failures

    def add_start(self, started_at: datetime | None) -> None:
        """Set the start of the run to the earliest start of its suites."""
        if started_at and (self.started_at is None or started_at < self.started_at):
            self.started_at = started_at

    def declare(self, count_name: str, number: int) -> None:
        """Add a count that the report states, such as `tests`. The counts of several suites add up."""
        self.declared[count_name] = self.declared.get(count_name, 0) + number
        self.declares_failures |= number > 0 and count_name in FAILURE_COUNTS

    def compare_counts(self) -> None:
        """Add a note for each declared count that differs from the number of elements. The elements are stored."""
        for name in _COUNTED:
            declared, counted = self.declared.get(name), self.counted[name]
            if declared is not None and declared != counted:
                self.notes.append(f"{name}: the report declares {declared}, but contains {counted}")
