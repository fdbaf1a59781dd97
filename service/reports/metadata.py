"""What a report says besides its results: of its run, and of itself."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

ReportFormatName = Literal["junit", "ctrf", "json", "ndjson"]

_COUNTED: Final = ("tests", "failures", "errors", "skipped")


@dataclass(slots=True)
class ReportMetadata:
    """Filled while the results are read, whole when they are."""

    format: ReportFormatName = "junit"
    run: dict[str, Any] = field(default_factory=dict)  # fields of RunIn, not validated
    started_at: datetime | None = None
    completed_at: datetime | None = None
    declared: dict[str, int] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def starts(self, moment: datetime | None) -> None:
        """The earliest start is that of the run."""
        if moment and (self.started_at is None or moment < self.started_at):
            self.started_at = moment

    def declares(self, what: str, number: int) -> None:
        """A count that the report gives; those of several suites add up."""
        self.declared[what] = self.declared.get(what, 0) + number

    def compare_counts(self) -> None:
        """Notes where the report counted otherwise than we did: its elements are trusted, not its sums."""
        for what in _COUNTED:
            declared, counted = self.declared.get(what), self.counted[what]
            if declared is not None and declared != counted:
                self.notes.append(f"the report declares {what}={declared}, but holds {counted}")
