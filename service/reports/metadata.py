"""The metadata of a report: its format, its run, and the numbers of results that it declares."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from service.domain.properties import PROPERTY_LIMITS
from service.domain.report_formats import ReportFormatName
from service.reports.output import OutputWriter
from service.reports.paths import NO_CHECKOUT, Checkout
from service.reports.run_times import RunTimes

FAILURE_COUNTS: Final = ("failures", "errors")
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
    failing: int = 0  # results, also those of suites and those with an unknown word as status
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
