"""The start and the end of the run of a report."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

_MS: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class RunTimes:
    """Collects the times of the suites of a report.

    A time without a zone counts only for `duration_ms` and `local_span`.
    """

    started_at: datetime | None = None
    _stated_end: datetime | None = None
    _stated_ms: float | None = None
    _local_start: datetime | None = None
    _latest_end: dict[bool, datetime] = field(default_factory=dict)  # by whether the time has a zone

    def set_end(self, completed_at: datetime | None) -> None:
        """Set the end that the report states."""
        self._stated_end = completed_at

    def set_duration(self, duration_ms: float | None) -> None:
        """Set the duration of the root suite."""
        self._stated_ms = duration_ms

    def add(self, started_at: datetime | None, duration_ms: float | None = None) -> None:
        """Add a suite. The run starts at the earliest start of a suite."""
        if started_at is None:
            return
        has_zone = started_at.tzinfo is not None
        if has_zone:
            self.started_at = min(self.started_at or started_at, started_at)
        else:
            self._local_start = min(self._local_start or started_at, started_at)
        if duration_ms is not None and (end := _after(started_at, duration_ms)):
            self._latest_end[has_zone] = max(self._latest_end.get(has_zone, end), end)

    @property
    def completed_at(self) -> datetime | None:
        """The stated end, or the start plus the duration. None if the end is unknown or before the start."""
        if self._stated_end is None:
            duration_ms = self.duration_ms
            return _after(self.started_at, duration_ms) if self.started_at and duration_ms is not None else None
        return self._stated_end if self.started_at is None or self._stated_end >= self.started_at else None

    @property
    def local_span(self) -> tuple[datetime, datetime] | None:
        """The start and the end without a zone. None if the report states a time with a zone, or no duration."""
        start, duration_ms = self._local_start, self.duration_ms
        end = _after(start, duration_ms) if start and duration_ms is not None and not self.started_at else None
        return (start, end) if start and end else None

    @property
    def duration_ms(self) -> float | None:
        """The duration of the root suite, or the time from the first start of a suite to the last end."""
        if self._stated_ms is not None:
            return self._stated_ms
        start, end = self.started_at, self._latest_end.get(True)
        if start is None:
            start, end = self._local_start, self._latest_end.get(False)
        return (end - start) / _MS if start and end else None


def _after(time: datetime, duration_ms: float) -> datetime | None:
    try:
        return time + duration_ms * _MS
    except OverflowError:
        return None
