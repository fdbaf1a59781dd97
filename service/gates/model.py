"""Gates: the rules that decide whether a run passes."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from service.domain.texts import format_rate

RuleName = Literal[
    "run_status", "max_missing_parts", "max_missing_cases", "max_missing_items", "min_results", "max_failures",
    "max_new_failures", "max_flaky", "min_pass_rate",
]  # fmt: skip
DecisionOutcome = Literal["passed", "blocked", "waived"]
ExcuseCondition = Literal["reports", "outside_tests", "quarantines", "missing_cases", "failures"]

_WORST_FIRST: Final[tuple[DecisionOutcome, ...]] = ("blocked", "waived", "passed")

MAX_LIMIT_OF_RULE: Final = 2**31 - 1
MAX_GATE_NAME: Final = 100
MAX_EXCUSED: Final = 1_000  # failing results of an excuse
MAX_EXCUSED_RECEIPTS: Final = 50


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of a gate. A limit that is None isn't checked."""

    min_results: int = 1
    max_failures: int | None = None
    max_new_failures: int | None = None
    max_flaky: int | None = None
    min_pass_rate: float | None = None
    max_missing_parts: int | None = None
    max_missing_cases: int | None = None
    max_missing_items: int | None = None

    def set_fields(self) -> dict[str, float]:
        """Return the limits that are set. Equal policies have equal fields."""
        limits = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def gate_fields(self) -> dict[str, float | None]:
        """Return the limits that a gate stores. It states whether parts can be missing, also if any number can."""
        return {**self.set_fields(), "max_missing_parts": self.max_missing_parts}


class FailureCounts(NamedTuple):
    """The number of failing results by their change."""

    new: int
    known: int
    flaky: int
    quarantined: int

    @property
    def not_excused(self) -> int:
        """The number of failing results without failing results that a quarantine excuses."""
        return self.new + self.known + self.flaky


class DecisionSummary(NamedTuple):
    """The decision about a run that lists show. `gate` is None for a recorded policy.

    `missing_parts` is the number without parts that the request allowed, or None in decisions of earlier versions.
    Without a baseline, all failures count as new.
    """

    decision_id: str
    decision: DecisionOutcome
    gate: str | None
    revision: int
    failures: FailureCounts
    missing_parts: int | None
    has_baseline: bool


class RunDecision(NamedTuple):
    """A decision about a run, with the policy if it has no gate, and the time of the decision."""

    summary: DecisionSummary
    policy: str | None
    created_at: datetime


class GatedRun(NamedTuple):
    """The values of a complete run that rules compare. `flaky` is the number of flaky results.

    `missing_parts` doesn't contain parts that the request allows to be missing. `missing_cases` is None if unknown.
    `missing_items` is None if unknown, or if the run has no split.
    """

    status: str
    failures_missing: bool
    passed: int
    flaky: int
    failures: FailureCounts
    missing_parts: int
    missing_cases: int | None
    missing_items: int | None = None
    has_split: bool = False

    @property
    def executed(self) -> int:
        """The number of results that passed, failed, or had an error."""
        return self.passed + sum(self.failures)

    @property
    def pass_rate(self) -> float | None:
        """The share of the executed results that passed, without quarantined failures. None without such results."""
        counted = self.passed + self.failures.not_excused
        return self.passed / counted if counted else None


class RuleOutcome(NamedTuple):
    """The evaluation of one rule. A rule whose value is None blocks, because the value is unknown."""

    rule: RuleName
    limit: float | None
    value: float | str | None
    passed: bool


class _Rule(NamedTuple):
    """A rule compares a value of the run with the limit of the same name in the policy. `text` shows both."""

    value: Callable[[GatedRun], float | None]
    accepts: Callable[[Any, Any], bool]
    text: str


_RULES: Final[Mapping[RuleName, _Rule]] = {
    "max_missing_parts": _Rule(
        lambda run: run.missing_parts, operator.le, "parts without results: {value}, at most {limit} allowed"
    ),
    "max_missing_cases": _Rule(
        lambda run: run.missing_cases, operator.le, "missing cases: {value}, at most {limit} allowed"
    ),
    "max_missing_items": _Rule(
        lambda run: run.missing_items, operator.le, "items that no job executed: {value}, at most {limit} allowed"
    ),
    "min_results": _Rule(lambda run: run.executed, operator.ge, "executed results: {value}, at least {limit} required"),
    "max_failures": _Rule(
        lambda run: run.failures.not_excused, operator.le, "failures: {value}, at most {limit} allowed"
    ),
    "max_new_failures": _Rule(
        lambda run: run.failures.new, operator.le, "new failures: {value}, at most {limit} allowed"
    ),
    "max_flaky": _Rule(lambda run: run.flaky, operator.le, "flaky results: {value}, at most {limit} allowed"),
    "min_pass_rate": _Rule(lambda run: run.pass_rate, operator.ge, "pass rate: {value}, at least {limit} required"),
}


def evaluate_policy(policy: Policy, run: GatedRun) -> list[RuleOutcome]:
    """Return the outcome of every rule that applies. The run passes if all of them pass.

    Items of splits can be missing only if the policy states a limit for them.
    """
    outcomes = [_evaluate_status(run)]
    for name, rule in _RULES.items():
        limit, value = getattr(policy, name), rule.value(run)
        if name == "max_missing_items":
            limit = (limit or 0) if run.has_split else None
        if limit is not None:
            outcomes.append(RuleOutcome(name, limit, value, value is not None and rule.accepts(value, limit)))
    return outcomes


def choose_decision(decisions: Iterable[RunDecision]) -> DecisionSummary | None:
    """Return the decision to show for a revision of a run, or None if there is none. `decisions` has the newest first.

    Only the newest decision of each gate, and of each recorded policy, counts. The worst of them is shown: blocked,
    waived, passed. For example, of the gate `release`, which blocked first and then passed, and of the gate `health`,
    which was waived, the decision of `health` is shown.
    """
    newest: dict[tuple[str | None, str | None], DecisionSummary] = {}
    for decision in decisions:
        newest.setdefault((decision.summary.gate, decision.policy), decision.summary)
    return min(newest.values(), key=lambda summary: _WORST_FIRST.index(summary.decision), default=None)


def describe_rule(name: str, limit: float | None, value: float | str | None) -> str:
    """Return the value and the limit of an evaluated rule in words, also of a rule that this version doesn't know."""
    if name == "run_status":
        return f"status of the run: {value}"
    texts: dict[str, str] = {rule_name: rule.text for rule_name, rule in _RULES.items()}
    text = texts.get(name, f"{name}: {{value}}, limit {{limit}}")
    if name == "min_pass_rate" and limit is not None:
        rates = {"value": value, "limit": limit}
        shown = {key: format_rate(float(rate), limit) for key, rate in rates.items() if rate is not None}
        return text.format_map({"value": "unknown", **shown})
    return text.format(value="unknown" if value is None else value, limit=limit)


def describe_failed_rules(decision: Mapping[str, Any]) -> list[str]:
    """Return why a decision of the API blocks a run, in words, with the names of the rules."""
    failed = (rule for rule in decision["rules"] if not rule["passed"])
    return [f"{describe_rule(rule['rule'], rule['limit'], rule['value'])} ({rule['rule']})" for rule in failed]


def describe_permitted_failures(decision: Mapping[str, Any], *, explain_status: bool) -> str | None:
    """Return the failures of a run that passes, such as `only known failures (2)`, or None.

    Without a baseline, it isn't known which failures are new. Failures that don't explain the status of the run, such
    as an error, aren't all that is wrong, so they aren't called the only ones.
    """
    nouns = {
        "new": "new failures" if decision["baseline_run_id"] else "failures", "flaky": "failures of flaky cases",
        "known": "known failures", "quarantined": "quarantined failures",
    }  # fmt: skip
    counts = decision["failures"]
    listed = [f"{noun} ({counts[kind]})" for kind, noun in nouns.items() if counts[kind]]
    if decision["decision"] != "passed" or not listed:
        return None
    return ("" if counts["new"] or not explain_status else "only ") + ", ".join(listed)


def _evaluate_status(run: GatedRun) -> RuleOutcome:
    """Block a canceled run, and a run that declares failures which it doesn't contain."""
    value = "failures_missing" if run.failures_missing else run.status
    return RuleOutcome("run_status", None, value, value not in ("failures_missing", "canceled"))
