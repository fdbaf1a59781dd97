"""What the policy of automatic quarantine decides after a run, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from service.domain.ids import CaseKey
from service.domain.statuses import StateValue
from service.quarantines.model import PolicyDecision, PolicyQuarantine, QuarantinePolicy

NOW: Final = datetime(2026, 5, 1, tzinfo=UTC)
POLICY: Final = QuarantinePolicy(0.1, days=10, release_after_runs=3)
RUNS: Final = ["r9", "r8", "r7", "r6"]


def quarantine(case: int, days: float = 10, since: str | None = None) -> PolicyQuarantine:
    return PolicyQuarantine(f"qua_{case}", CaseKey(case), NOW + timedelta(days=days), since)


def decide(
    active: list[PolicyQuarantine], states: dict[int, StateValue], limit: int = 10, **fields: Any
) -> PolicyDecision:
    by_case = {CaseKey(case): state for case, state in states.items()}
    return POLICY.decide(by_case, active, fields.get("excluded", ()), fields.get("runs", RUNS), limit, NOW)


@pytest.mark.parametrize(
    ("share", "executed", "limit"), [(0.05, 19, 0), (0.05, 20, 1), (0.29, 100, 29), (1, 150, 150), (1, 201, 200)]
)
def test_limit_is_a_share_of_the_executed_cases(share: float, executed: int, limit: int) -> None:
    assert QuarantinePolicy(share, 14, 50).find_limit(executed) == limit


def test_only_flaky_cases_without_a_quarantine_are_quarantined() -> None:
    decision = decide([quarantine(4)], {5: "flaky", 1: "flaky", 2: "broken", 3: "flaky", 4: "flaky"}, excluded={3})
    assert decision == PolicyDecision([], [CaseKey(1), CaseKey(5)], active=3, waiting=0)


def test_cases_above_the_limit_wait() -> None:
    decision = decide([quarantine(9)], {9: "flaky", 3: "flaky", 1: "flaky", 2: "flaky"}, limit=3)
    assert decision == PolicyDecision([], [CaseKey(1), CaseKey(2)], active=3, waiting=1)
    assert decide([quarantine(9), quarantine(8)], {9: "flaky", 8: "flaky", 1: "flaky"}, limit=1).waiting == 1


def test_quarantine_of_a_broken_case_makes_room_at_once() -> None:
    broken = quarantine(1)
    decision = decide([broken], {1: "broken", 2: "flaky"}, limit=1)
    ended = broken._replace(not_flaky_since="r9", is_ended=True)
    assert decision == PolicyDecision([ended], [CaseKey(2)], active=1, waiting=0)


def test_healthy_case_is_released_after_the_runs_since_it_recovered() -> None:
    assert decide([quarantine(1)], {}).changed == [quarantine(1, since="r9")]
    assert decide([quarantine(1, since="r7")], {}) == PolicyDecision([], [], active=1, waiting=0)
    released = quarantine(1, since="r6")
    assert decide([released], {}) == PolicyDecision([released._replace(is_ended=True)], [], active=0, waiting=0)
    assert decide([quarantine(1)], {}, runs=[]).changed == []


def test_case_that_is_flaky_again_counts_from_the_start() -> None:
    assert decide([quarantine(1, since="r1")], {1: "flaky"}).changed == [quarantine(1)]


def test_flaky_case_is_renewed_when_less_than_half_of_the_days_remains() -> None:
    assert decide([quarantine(1, days=5)], {1: "flaky"}).changed == []
    assert decide([quarantine(1, days=4.9)], {1: "flaky"}).changed == [quarantine(1)]
    assert decide([quarantine(1, days=4.9, since="r8")], {}).changed == []


def test_above_the_limit_only_the_oldest_quarantines_are_renewed() -> None:
    """Of 4 quarantines, the limit has 3 places, and one is that of a healthy case."""
    active = [quarantine(case, days=1) for case in (3, 1, 2)] + [quarantine(4, days=1, since="r8")]
    decision = decide(active, {1: "flaky", 2: "flaky", 3: "flaky"}, limit=3)
    assert decision == PolicyDecision([quarantine(1), quarantine(2)], [], active=4, waiting=0)
