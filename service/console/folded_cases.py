"""The tests of a list of cases: cases that differ only in their variants are one test."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.rows import CaseRow
from service.domain.statuses import SEVERITY, ResultStatus


class FoldedTest(NamedTuple):
    """A test with its cases, in the order of the list. Each statistic is the highest one of its variants."""

    cases: tuple[CaseRow, ...]

    @property
    def first(self) -> CaseRow:
        """The first case of the list, such as the flakiest variant of a ranking."""
        return self.cases[0]

    @property
    def last_status(self) -> ResultStatus | None:
        """The worst of the last statuses of its variants, or None if no variant has a result."""
        known = (case.last_status for case in self.cases if case.last_status)
        return max(known, key=lambda status: SEVERITY[status], default=None)

    @property
    def most_failing(self) -> CaseRow:
        """The variant with the highest failure rate."""
        return max(self.cases, key=lambda case: case.failure_rate or 0)

    @property
    def flakiest(self) -> CaseRow:
        """The variant with the highest flaky rate."""
        return max(self.cases, key=lambda case: case.flaky_rate or 0)

    @property
    def slowest(self) -> CaseRow:
        """The variant with the highest mean duration."""
        return max(self.cases, key=lambda case: case.mean_duration_ms or 0)

    @property
    def last_completed_ms(self) -> int | None:
        """The completion time of the last run with any variant."""
        return max((case.last_completed_ms for case in self.cases if case.last_completed_ms), default=None)


def fold_cases(cases: Sequence[CaseRow]) -> list[FoldedTest]:
    """Return the tests of cases, each in the position of its first case."""
    tests: dict[tuple[str | None, str, str], list[CaseRow]] = {}
    for case in cases:
        key = (case.case_id, "", "") if case.case_id else (None, case.suite, case.name)
        tests.setdefault(key, []).append(case)
    return [FoldedTest(tuple(variants)) for variants in tests.values()]
