"""Outcomes of cases: their columns, and the failing attempt of a flaky outcome."""

from service.domain.ids import CaseKey
from service.results.model import LISTED_COLUMNS, Attempt, CaseOutcome, failing_attempt
from service.results.rows import ResultRow


def outcome(statuses: str, *, flaky: bool) -> CaseOutcome:
    attempts = tuple(Attempt(status, 1) for status in statuses)
    return CaseOutcome(CaseKey(1), "p", flaky, len(attempts), 1, None, 0, 0, attempts)


def test_rows_of_lists_have_the_listed_columns_in_their_order() -> None:
    fields = [name.replace("started_offset_ms", "started_ms") for name in LISTED_COLUMNS]
    first = ResultRow._fields.index("status") + 1
    assert list(ResultRow._fields[first : first + len(fields)]) == fields


def test_failing_attempt_is_the_last_one_that_failed() -> None:
    assert failing_attempt(outcome("fesp", flaky=True)) == 1
    assert failing_attempt(outcome("fp", flaky=False)) is None


def test_flaky_outcome_without_a_failing_attempt_has_none() -> None:
    assert failing_attempt(outcome("pp", flaky=True)) is None
