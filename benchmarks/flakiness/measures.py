"""Measures of a rule: how right its states and causes are, how fast, and what an outage does to them."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import median
from typing import Any, Final

from benchmarks.flakiness.histories import EXECUTED, STATES, Branch, History, LabeledCase, Span, State
from benchmarks.flakiness.pulls import STRATA, LabeledFailure, Stratum
from benchmarks.flakiness.rules import Rule

_SETTLED_RUNS: Final = 20  # a case is settled if its true state hasn't changed for so many runs
_HEALTHY_BEFORE: Final = 100  # passes before a break
_AFTER_OUTAGE: Final = (0, 5)  # runs after its last one
_SEARCHED_RUNS: Final = 200  # for a flake
_FOUND_FAILURES: Final = 2  # a break should be found within
_FOUND_RUNS: Final = 60  # a flake of 10 % should be found within


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of one rule. A share is between 0 and 1; None means that the rule has no such property."""

    macro_f1: float
    f1: dict[State, float]
    macro_f1_settled: float
    flakes: int  # of 10 %, without those that the rule called flaky before they began
    flake_median_runs: float
    flake_found: float  # share within 60 runs
    break_median_failures: float
    break_found: float  # share within 2 failures
    outage_changes: int
    outage_cases: int
    broken_quarantined: int | None
    breaks: int
    wrong_new: float
    wrong_flaky: float
    wrong_by_stratum: dict[Stratum, float]

    def to_json(self) -> dict[str, Any]:
        """Return the measures with 4 digits. A median is null if more than half were never found."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def combine(measured: Sequence[Measures]) -> Measures:
    """Return the measures of several seeds: the sum of counts, the median of medians, and the mean of shares."""
    combined = {name: _combine(name, [getattr(each, name) for each in measured]) for name in _names()}
    return Measures(**combined)


def _names() -> list[str]:
    return [field.name for field in fields(Measures)]


def _combine(name: str, values: Sequence[Any]) -> Any:
    if "median" in name:
        return median(values)
    if isinstance(values[0], dict):
        return {key: _mean(value[key] for value in values) for key in values[0]}
    if isinstance(values[0], int):
        return sum(values)
    return None if values[0] is None else _mean(values)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def measure(rule: Rule, branch: Branch, failures: Sequence[LabeledFailure]) -> Measures:
    """Measure one rule on a branch and on failures of pull requests."""
    f1 = _f1_by_state(rule, branch.cases)
    flakes = [_runs_until_flaky(rule, case) for case in branch.ten_percent_flakes if not _was_flaky(rule, case)]
    breaks = list(_breaks_after_passes(branch))
    found = [_failures_until_broken(rule, case, span) for case, span in breaks]
    changes = list(_changed_by_outages(rule, branch))
    wrong = {stratum: _share(_wrong(rule, failures, stratum)) for stratum in STRATA}
    return Measures(
        macro_f1=_mean(f1.values()),
        f1=f1,
        macro_f1_settled=_mean(_f1_by_state(rule, [case for case in branch.cases if _is_settled(case)]).values()),
        flakes=len(flakes),
        flake_median_runs=median(flakes) if flakes else math.inf,
        flake_found=_share(runs <= _FOUND_RUNS for runs in flakes),
        break_median_failures=median(found) if found else math.inf,
        break_found=_share(failed <= _FOUND_FAILURES for failed in found),
        outage_changes=sum(changes),
        outage_cases=len(changes),
        broken_quarantined=_count_quarantined(rule, breaks),
        breaks=len(breaks),
        wrong_new=_mean(share for stratum, share in wrong.items() if not stratum.startswith("real")),
        wrong_flaky=_mean(share for stratum, share in wrong.items() if stratum.startswith("real")),
        wrong_by_stratum=wrong,
    )


def _f1_by_state(rule: Rule, cases: Iterable[LabeledCase]) -> dict[State, float]:
    """Return the F1 of each state after the last run, without cases that no longer exist."""
    pairs: Counter[tuple[State, State]] = Counter()
    for case in cases:
        last = len(case.truth) - 1
        truth = case.truth[last]
        if truth is not None:
            pairs[truth, rule.state_at(case.history, last)] += 1
    scores: dict[State, float] = {}
    for state in STATES:
        right = pairs[state, state]
        stated = sum(pairs[truth, state] for truth in STATES)
        true = sum(pairs[state, other] for other in STATES)
        scores[state] = 2 * right / (stated + true) if stated + true else 1.0
    return scores


def _is_settled(case: LabeledCase) -> bool:
    return len(set(case.truth[-_SETTLED_RUNS:])) == 1


def _was_flaky(rule: Rule, case: LabeledCase) -> bool:
    assert case.behavior.flake is not None
    return rule.state_at(case.history, case.behavior.flake.begin - 1) == "flaky"


def _runs_until_flaky(rule: Rule, case: LabeledCase) -> float:
    """Return the number of results from the begin of a flake to the first one after which it's found, or infinity."""
    assert case.behavior.flake is not None
    results = 0
    for position in range(case.behavior.flake.begin, min(len(case.truth), case.behavior.flake.begin + _SEARCHED_RUNS)):
        results += case.history.outcomes[position].status in EXECUTED
        if rule.state_at(case.history, position) == "flaky":
            return results
    return math.inf


def _breaks_after_passes(branch: Branch) -> Iterator[tuple[LabeledCase, Span]]:
    """Yield the breaks with at least 2 failures whose case was healthy in its last 100 results."""
    for case in branch.cases:
        for span in case.behavior.breaks:
            begin, end = max(span.begin, case.behavior.exists.begin), min(span.end, case.behavior.exists.end)
            before = [index for index in _executed(case, Span(0, begin)) if case.truth[index] is not None]
            is_healthy = all(case.truth[index] == "healthy" for index in before[-_HEALTHY_BEFORE:])
            failed = sum(1 for _ in _executed(case, Span(begin, end)))
            if len(before) >= _HEALTHY_BEFORE and is_healthy and failed >= _FOUND_FAILURES:
                yield case, Span(begin, end)


def _executed(case: LabeledCase, span: Span) -> Iterator[int]:
    return (outcome.run for outcome in case.history.outcomes[span.begin : span.end] if outcome.status in EXECUTED)


def _failures_until_broken(rule: Rule, case: LabeledCase, span: Span) -> float:
    for failures, position in enumerate(_executed(case, span), start=1):
        if rule.state_at(case.history, position) == "broken":
            return failures
    return math.inf


def _count_quarantined(rule: Rule, breaks: Iterable[tuple[LabeledCase, Span]]) -> int | None:
    """Return how many breaks are quarantined after their third failure or their last one. None without quarantine."""
    states = rule.quarantined
    if states is None:
        return None
    failing = ((case.history, list(_executed(case, span))[2:]) for case, span in breaks)
    return sum(
        any(rule.state_at(history, position) in states for position in {positions[0], positions[-1]})
        for history, positions in failing
        if positions
    )


def _changed_by_outages(rule: Rule, branch: Branch) -> Iterator[bool]:
    """Yield for each case and outage whether the state is another one than without outages, at once or 5 runs later."""
    out = {run for span in branch.outages for run in range(*span)}
    runs = tuple(run._replace(executed=0, failed=0) if run.number in out else run for run in branch.runs)
    for case in branch.cases:
        outcomes = tuple(
            outcome._replace(status="missing", attempts=0) if outcome.run in out else outcome
            for outcome in case.history.outcomes
        )
        without: History = replace(case.history, outcomes=outcomes, runs=runs)
        for span in branch.outages:
            if case.truth[span.end - 1] is not None:
                positions = [min(span.end - 1 + later, len(runs) - 1) for later in _AFTER_OUTAGE]
                yield any(rule.state_at(case.history, at) != rule.state_at(without, at) for at in positions)


def _wrong(rule: Rule, failures: Iterable[LabeledFailure], stratum: str) -> Iterator[bool]:
    """Yield whether a real regression isn't *new*, or whether another failure is *new*."""
    for each in failures:
        if each.stratum == stratum:
            yield (rule.cause_of(each.case.history, each.failure) == "new") != (each.label == "new")


def _share(values: Iterable[bool]) -> float:
    return _mean([float(value) for value in values])


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
