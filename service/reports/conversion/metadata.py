"""The metadata of a report: its format, its run, and the numbers of results that it declares."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from service.domain.statuses import states_failure
from service.ingest.contract import AttemptIn, ResultIn
from service.reports.conversion.names import NO_CHECKOUT, OUTSIDE_OF_TESTS, Checkout
from service.reports.conversion.output import OutputWriter
from service.reports.format_table import ReportFormatName
from service.results.model import PROPERTY_LIMITS, PropertyCollector

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


def mark_outside(result: ResultIn, kind: str) -> ResultIn:
    """Return a failure that isn't of a test with a property, because it has the form of a test."""
    return {**result, "properties": {OUTSIDE_OF_TESTS: kind, **(result.get("properties") or {})}}


FAILURE_COUNTS: Final = ("failures", "errors")
COUNT_OF: Final = {"failed": "failures", "error": "errors", "skipped": "skipped"}  # by status
_MAX_EXAMPLE: Final = 40


@dataclass(slots=True)
class UnreadableDurations:
    """Counts the durations of a report that aren't numbers or don't fit."""

    count: int = 0
    example: str = ""

    def add(self, value: object) -> None:
        """Count a value that the report contains instead of a valid duration."""
        self.count += 1
        self.example = self.example or str(value)[:_MAX_EXAMPLE]

    def check(self, written: object, duration_ms: float | None) -> float | None:
        """Return the duration that a value of the report states. Count the value if the duration is None."""
        if duration_ms is None:
            self.add(written)
        return duration_ms

    def set_duration(self, part: ResultIn | AttemptIn, written: object, duration_ms: float | None) -> None:
        """Set the duration that a value of the report states. Count the value if the duration is None."""
        if duration_ms is None:
            self.add(written)
        else:
            part["duration_ms"] = duration_ms


@dataclass(slots=True)
class ReportMetadata:
    """The metadata of one report. A reader fills it while it reads; it is complete after the last result.

    `counted` contains the number of cases by outcome, and `executions` the number of further executions that the
    report lists inside of cases.
    """

    format: ReportFormatName = "junit"
    checkout: Checkout = NO_CHECKOUT
    run: dict[str, Any] = field(default_factory=dict)  # unvalidated fields of RunIn
    times: RunTimes = field(default_factory=RunTimes)
    declared: dict[str, int] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    executions: Counter[str] = field(default_factory=Counter)
    unreadable: UnreadableDurations = field(default_factory=UnreadableDurations)
    output: OutputWriter = field(default_factory=OutputWriter)
    dropped_properties: int = 0
    repairs: bool = False  # whether the reader replaces characters that XML doesn't permit
    replaced_characters: int = 0
    notes: list[str] = field(default_factory=list)
    declares_failures: bool = False
    contains_failures: bool = False
    portable_names: bool = False  # whether a native report asks for names that are the same on every machine
    failing: int = 0  # results, also of suites, and with an unknown word as status
    is_damaged: bool = False  # parts of the report couldn't be read

    @property
    def failures_missing(self) -> bool:
        """Whether parts are unreadable, or the report declares more failures than it contains.

        A failure of an earlier attempt counts. ci_reporter, which writes JUnit XML, counts skipped tests as errors, so
        that they explain errors that are missing, but not failures.
        """
        if self.is_damaged or (self.declares_failures and not self.contains_failures):
            return True
        contained = max(self.failing, sum(self.counted[name] for name in FAILURE_COUNTS))
        contained += sum(self.executions[name] for name in FAILURE_COUNTS)
        if self.format == "junit":
            contained += min(self.counted["skipped"], max(0, self._missing("errors")))
        return sum(self.declared.get(name, 0) for name in FAILURE_COUNTS) > contained

    def count(self, status: object) -> None:
        """Count a test. Its status can be any value: ingest rejects invalid results."""
        self.counted["tests"] += 1
        if status != "passed":
            if isinstance(status, str) and status in COUNT_OF:
                self.counted[COUNT_OF[status]] += 1
            self.contains_failures |= states_failure(status)

    def add_properties(self, result: ResultIn, pairs: Iterable[tuple[str, str]]) -> None:
        """Add named values to a result, and count the values that exceed the limits."""
        properties = PropertyCollector()
        self.dropped_properties += sum(not properties.add(name, value) for name, value in pairs)
        if properties.pairs:
            result["properties"] = properties.pairs

    def declare(self, count_name: str, number: int) -> None:
        """Add a count that the report states, such as `tests`. The counts of several suites add up."""
        self.declared[count_name] = self.declared.get(count_name, 0) + number
        self.declares_failures |= number > 0 and count_name in FAILURE_COUNTS

    def add_notes(self) -> None:
        """Add the notes about the complete report."""
        self._compare_tests()
        self._compare_failures()
        if self.unreadable.count:
            example = f"{self.unreadable.count} durations are invalid, such as {self.unreadable.example!r}"
            self.notes.append(f"duration: {example}. They are stored as unknown.")
        if self.replaced_characters:
            count = f"{self.replaced_characters} characters that XML doesn't permit"
            self.notes.append(f"XML: {count}, such as those of colors, were replaced by U+FFFD")
        if self.dropped_properties:
            self.notes.append(f"properties: {self.dropped_properties} were not stored; {PROPERTY_LIMITS}")

    def _compare_tests(self) -> None:
        """Add a note if the report contains fewer tests than it declares.

        Tools declare fewer tests than they list if they don't count reruns (pytest) or todos (jest), and more if they
        don't list skipped tests (mocha).
        """
        missing = self._missing("tests")
        missing_skipped = self._missing("skipped")
        if missing > max(missing_skipped, 0):
            self._note_count("tests")
        elif missing_skipped > max(missing, 0):
            self._note_count("skipped")

    def _compare_failures(self) -> None:
        """Add a note for each number of failures that differs, unless the sum of failures and errors is equal."""
        names = [name for name in FAILURE_COUNTS if name in self.declared]
        if sum(self.declared[name] for name in names) == sum(self.counted[name] for name in FAILURE_COUNTS):
            return
        for name in names:
            if not self.counted[name] <= self.declared[name] <= self.counted[name] + self.executions[name]:
                self._note_count(name)

    def _missing(self, name: str) -> int:
        contained = self.counted[name] + self.executions[name]
        return self.declared.get(name, contained) - contained

    def _note_count(self, name: str) -> None:
        self.notes.append(f"{name}: the report declares {self.declared[name]}, but contains {self.counted[name]}")
