"""Outcomes of cases: the failing attempt of a flaky outcome."""

from service.domain.ids import CaseKey
from service.results.model import Attempt, CaseOutcome, failing_attempt


def outcome(statuses: str, *, flaky: bool) -> CaseOutcome:
    attempts = tuple(Attempt(status, 1) for status in statuses)
    return CaseOutcome(CaseKey(1), "p", flaky, len(attempts), 1, None, 0, 0, attempts)


def test_failing_attempt_is_the_last_one_that_failed() -> None:
    assert failing_attempt(outcome("fesp", flaky=True)) == 1
    assert failing_attempt(outcome("fp", flaky=False)) is None


def test_flaky_outcome_without_a_failing_attempt_has_none() -> None:
    assert failing_attempt(outcome("pp", flaky=True)) is None
