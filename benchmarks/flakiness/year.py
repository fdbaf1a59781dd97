"""A simulated year of automatic quarantine: the policy of a project decides after each run of a generated branch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from benchmarks.flakiness.histories import Branch, Run, Span, Status
from service.comparison.model import RECENT_RUNS, find_baseline
from service.domain.ids import CaseKey
from service.domain.statuses import StateValue
from service.evidence.model import (
    NOT_EXECUTED,
    EvidenceRun,
    EvidenceRuns,
    History,
    KnownScores,
    Outcome,
    is_mass_failure,
    is_outage,
)
from service.quarantines.model import PolicyQuarantine, QuarantinePolicy
from service.states.model import MAX_RUNS, count_runs, judge_state

_OUTCOMES: Final[dict[Status, Outcome]] = {"passed": "p", "flaky": "r", "failed_finally": "f"}
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CACHE_BYTES: Final = 64 * 2**20
_LONG_FLAKE: Final = 150  # runs
_HEALTHY_BEFORE: Final = 100  # runs before a break
_RELEASED_WITHIN: Final = 250  # runs after the end of a flake


@dataclass
class Year:
    """What a policy did after each run of a branch: the quarantined cases, its limit, and the number that waits."""

    branch: Branch
    policy: QuarantinePolicy
    quarantined: list[set[CaseKey]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    active: dict[str, PolicyQuarantine] = field(default_factory=dict)

    def add(self, run: Run, states: Mapping[CaseKey, StateValue], keys: Sequence[str], executed: int) -> None:
        """Let the policy decide after a run."""
        now = _BEGIN + timedelta(hours=run.hours)
        limit = self.policy.find_limit(executed)
        active = [quarantine for quarantine in self.active.values() if quarantine.expires_at > now]
        decision = self.policy.decide(states, active, (), keys, limit, now)
        created = [
            PolicyQuarantine(f"{run.number:06}/{case}", case, now + self.policy.duration) for case in decision.created
        ]
        changed = {each.quarantine_id: each for each in (*active, *decision.changed, *created)}
        self.active = {key: quarantine for key, quarantine in changed.items() if not quarantine.is_ended}
        assert len(self.active) == decision.active
        self.quarantined.append({quarantine.case_key for quarantine in self.active.values()})
        self.limits.append(limit)
        self.waiting.append(decision.waiting)


def simulate(branch: Branch, policies: Iterable[QuarantinePolicy]) -> list[Year]:
    """Let each policy decide after each run. The key of a case is its index. A run without results changes nothing."""
    years = [Year(branch, policy) for policy in policies]
    judge, keys, executed = _Judge(branch), list[str](), list[int]()
    states: Mapping[CaseKey, StateValue] = {}
    for run in branch.runs:
        if run.executed:
            keys.insert(0, _run_key(run))
            executed.insert(0, run.executed)
            states = judge.find_states(run)
        recent = executed[:RECENT_RUNS]
        for year in years:
            year.add(run, states, keys[:MAX_RUNS], recent[find_baseline(recent)] if recent else 0)
    return years


def find_flakes(year: Year, least_rate: float) -> Iterator[tuple[CaseKey, Span]]:
    """Yield the flakes of at least this rate that exist for at least 150 runs."""
    for key, case in enumerate(year.branch.cases):
        flake, exists = case.behavior.flake, case.behavior.exists
        if flake and flake.rate >= least_rate:
            span = Span(max(flake.begin, exists.begin), min(flake.end, exists.end))
            if span.end - span.begin >= _LONG_FLAKE:
                yield CaseKey(key), span


def is_quarantined(year: Year, case: CaseKey, span: Span) -> bool:
    """Return whether the case was quarantined during a span."""
    return any(case in quarantined for quarantined in year.quarantined[span.begin : span.end])


def is_released(year: Year, case: CaseKey, span: Span) -> bool | None:
    """Return whether the quarantine ended within 250 runs after a flake. None if the case or the year ends earlier."""
    end = span.end + _RELEASED_WITHIN
    if end >= min(len(year.quarantined), year.branch.cases[case].behavior.exists.end):
        return None
    return case not in year.quarantined[end]


def find_breaks(year: Year) -> Iterator[tuple[CaseKey, Span]]:
    """Yield the breaks of cases that are never flaky and weren't broken in the 100 runs before."""
    for key, case in enumerate(year.branch.cases):
        breaks = case.behavior.breaks
        for span in breaks:
            before = [other for other in breaks if span.begin - _HEALTHY_BEFORE < other.end <= span.begin]
            if (
                case.behavior.flake is None
                and not before
                and span.begin - case.behavior.exists.begin >= _HEALTHY_BEFORE
            ):
                yield CaseKey(key), span


class _Judge:
    """Judges the states of the cases of a branch after each run, in the order of the runs."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._runs: list[Run] = []
        self._outcomes = [""] * len(branch.cases)  # newest first
        self._known = KnownScores(_CACHE_BYTES)

    def find_states(self, run: Run) -> dict[CaseKey, StateValue]:
        """Return the states of unhealthy cases after a run."""
        if not is_outage(run.executed, run.failed):
            self._runs.insert(0, run)
            for index, case in enumerate(self._branch.cases):
                outcome = _OUTCOMES.get(case.history.outcomes[run.number].status, NOT_EXECUTED)
                self._outcomes[index] = (outcome + self._outcomes[index])[:MAX_RUNS]
        count = count_runs([_run_key(each) for each in self._runs[:MAX_RUNS]])
        runs = _evidence_runs(self._runs[:count])
        states: dict[CaseKey, StateValue] = {}
        for index, outcomes in enumerate(self._outcomes):
            if len(outcomes[:count].replace(NOT_EXECUTED, "").replace("p", "")) > 1:
                state = judge_state(History(outcomes[:count], runs), self._known).value
                if state != "healthy":
                    states[CaseKey(index)] = state
        return states


def _evidence_runs(runs: Sequence[Run]) -> EvidenceRuns:
    return EvidenceRuns(
        [EvidenceRun(_run_key(run), run.commit, is_mass_failure(run.executed, run.failed)) for run in runs]
    )


def _run_key(run: Run) -> str:
    """Return a key that sorts by time and ends with a hash, like the key of a stored run."""
    return f"{run.number:030x}{sha256(str(run.number).encode()).hexdigest()[:2]}"
