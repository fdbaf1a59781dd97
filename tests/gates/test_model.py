"""Every rule of a policy, at its boundary."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.gates.model import (
    DecisionOutcome,
    DecisionSummary,
    FailureCounts,
    GatedRun,
    Policy,
    RuleOutcome,
    RunDecision,
    choose_decision,
    describe_rule,
    evaluate_policy,
)

NO_FAILURES = FailureCounts(0, 0, 0, 0)


def gated(passed: int = 10, failures: FailureCounts = NO_FAILURES, **fields: Any) -> GatedRun:
    values: dict[str, Any] = {
        "status": "passed", "failures_missing": False, "flaky": 0, "missing_parts": 0, "missing_cases": 0, **fields
    }  # fmt: skip
    return GatedRun(**values, passed=passed, failures=failures)


@pytest.mark.parametrize(
    ("policy", "run", "value", "passed"),
    [
        ({"min_results": 1}, gated(0), 0, False),
        ({"min_results": 1}, gated(1), 1, True),
        ({"min_results": 10}, gated(9), 9, False),
        ({"min_results": 10}, gated(10), 10, True),
        ({"min_results": 10}, gated(6, FailureCounts(1, 1, 1, 1)), 10, True),
        ({"max_failures": 0}, gated(), 0, True),
        ({"max_failures": 0}, gated(10, FailureCounts(1, 0, 0, 0)), 1, False),
        ({"max_failures": 0}, gated(10, FailureCounts(0, 0, 0, 5)), 0, True),
        ({"max_failures": 3}, gated(10, FailureCounts(1, 1, 1, 9)), 3, True),
        ({"max_failures": 3}, gated(10, FailureCounts(2, 1, 1, 0)), 4, False),
        ({"max_new_failures": 0}, gated(10, FailureCounts(0, 9, 9, 9)), 0, True),
        ({"max_new_failures": 0}, gated(10, FailureCounts(1, 0, 0, 0)), 1, False),
        ({"max_new_failures": 2}, gated(10, FailureCounts(2, 0, 0, 0)), 2, True),
        ({"max_new_failures": 2}, gated(10, FailureCounts(3, 0, 0, 0)), 3, False),
        ({"max_flaky": 0}, gated(10, FailureCounts(0, 0, 9, 0)), 0, True),
        ({"max_flaky": 0}, gated(flaky=1), 1, False),
        ({"max_flaky": 2}, gated(flaky=2), 2, True),
        ({"max_flaky": 2}, gated(flaky=3), 3, False),
        ({"min_pass_rate": 0.95}, gated(19, FailureCounts(1, 0, 0, 0)), 0.95, True),
        ({"min_pass_rate": 0.95}, gated(18, FailureCounts(0, 1, 0, 0)), 18 / 19, False),
        ({"min_pass_rate": 1}, gated(1, FailureCounts(0, 0, 0, 7)), 1, True),
        ({"min_pass_rate": 1}, gated(9999, FailureCounts(0, 0, 1, 0)), 0.9999, False),
        ({"min_pass_rate": 0}, gated(0, FailureCounts(1, 0, 0, 0)), 0, True),
        ({"min_pass_rate": 0}, gated(0), None, False),
        ({"min_pass_rate": 0}, gated(0, FailureCounts(0, 0, 0, 1)), None, False),
        ({"max_missing_parts": 0}, gated(), 0, True),
        ({"max_missing_parts": 0}, gated(missing_parts=1), 1, False),
        ({"max_missing_cases": 2}, gated(missing_cases=2), 2, True),
        ({"max_missing_cases": 2}, gated(missing_cases=3), 3, False),
        ({"max_missing_cases": 2}, gated(missing_cases=None), None, False),
        ({"max_missing_items": 2}, gated(missing_items=2, has_split=True), 2, True),
        ({"max_missing_items": 2}, gated(missing_items=3, has_split=True), 3, False),
        ({"max_missing_items": 2}, gated(has_split=True), None, False),
    ],
)
def test_rule_at_its_boundary(policy: Any, run: GatedRun, value: Any, passed: bool) -> None:
    outcomes = {outcome.rule: outcome for outcome in evaluate_policy(Policy(**policy), run)}
    ((name, limit),) = policy.items()
    assert outcomes[name] == RuleOutcome(name, limit, value, passed)


@pytest.mark.parametrize(
    ("run", "value", "passed"),
    [
        (gated(), "passed", True),
        (gated(status="failed"), "failed", True),
        (gated(status="error"), "error", True),
        (gated(status="canceled"), "canceled", False),
        (gated(status="error", failures_missing=True), "failures_missing", False),
    ],
)
def test_canceled_runs_and_runs_with_missing_failures_are_blocked(run: GatedRun, value: str, passed: bool) -> None:
    assert evaluate_policy(Policy(max_failures=9), run)[0] == RuleOutcome("run_status", None, value, passed)


def test_absent_limits_are_not_checked_except_for_the_number_of_results() -> None:
    run = gated(0, FailureCounts(5, 5, 5, 5), flaky=9)
    assert [outcome.rule for outcome in evaluate_policy(Policy(), run)] == ["run_status", "min_results"]
    everything = Policy(2, 1, 0, 3, 0.5)
    assert [outcome.rule for outcome in evaluate_policy(everything, run)] == ["run_status", *everything.set_fields()]
    assert Policy().set_fields() == {"min_results": 1}


@pytest.mark.parametrize(
    ("rule", "limit", "value", "text"),
    [
        ("max_new_failures", 0, 1, "new failures: 1, at most 0 allowed"),
        ("min_pass_rate", 0.9, 1 / 3, "pass rate: 33.3%, at least 90% required"),
        ("min_pass_rate", 0.9, None, "pass rate: unknown, at least 90% required"),
        ("min_pass_rate", 1.0, 99_999 / 100_000, "pass rate: 99.999%, at least 100% required"),
        ("min_pass_rate", 1, 1.0, "pass rate: 100%, at least 100% required"),
        ("min_pass_rate", 0.95, 99_999 / 100_000, "pass rate: 99.999%, at least 95% required"),
        ("min_pass_rate", 0.9876, 0.98759, "pass rate: 98.759%, at least 98.76% required"),
        ("run_status", None, "failures_missing", "status of the run: failures_missing"),
        ("max_duration_s", 60, 61, "max_duration_s: 61, limit 60"),
        ("max_share", 1.0, 1.000001, "max_share: 1.000001, limit 1.0"),
    ],
)
def test_evaluated_rule_is_described(rule: str, limit: float | None, value: Any, text: str) -> None:
    assert describe_rule(rule, limit, value) == text


def decided(number: int, decision: DecisionOutcome, gate: str | None, policy: str | None = None) -> RunDecision:
    summary = DecisionSummary(f"dec_{number}", decision, gate, 1, NO_FAILURES, 0, has_baseline=True)
    return RunDecision(summary, policy, datetime(2026, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("newest_first", "shown"),
    [
        ([], None),
        ([decided(2, "passed", "a"), decided(1, "blocked", "a")], "dec_2"),
        ([decided(3, "passed", "a"), decided(2, "waived", "b"), decided(1, "blocked", "a")], "dec_2"),
        ([decided(3, "waived", "a"), decided(2, "blocked", "b"), decided(1, "blocked", "c")], "dec_2"),
        ([decided(2, "passed", None, "{1}"), decided(1, "blocked", None, "{2}")], "dec_1"),
        ([decided(2, "passed", None, "{1}"), decided(1, "blocked", None, "{1}")], "dec_2"),
    ],
)
def test_the_worst_of_the_newest_decisions_is_chosen(newest_first: list[RunDecision], shown: str | None) -> None:
    chosen = choose_decision(newest_first)
    assert (chosen and chosen.decision_id) == shown
