"""The rules of this project: those of version 2, which judged 20 runs, and the current ones."""

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar, Final

from benchmarks.flakiness.histories import History, Run, State, Status
from benchmarks.flakiness.pulls import Cause, Failure
from benchmarks.flakiness.rules import Rule, executed_until
from service.comparison.backtest import judge_by_version_2
from service.comparison.model import RECENT_RUNS, WINDOW_RUNS
from service.evidence.model import (
    NOT_EXECUTED,
    EvidenceRun,
    EvidenceRuns,
    FailureChange,
    Outcome,
    is_mass_failure,
    is_outage,
    judge_failure,
    select_evidence,
)
from service.evidence.model import History as EvidenceHistory
from service.states.model import MIN_RUNS, judge_state

_CAUSES: Final[dict[FailureChange, Cause]] = {"new_failure": "new", "flaky_failure": "flaky", "known_failure": "known"}
_STATES: Final[dict[Cause, State]] = {"new": "healthy", "flaky": "flaky", "known": "broken"}
_OUTCOMES: Final[dict[Status, Outcome]] = {"passed": "p", "flaky": "r", "failed_finally": "f"}


class OldRules(Rule):
    """Version 2: the newest 20 runs of the base branch that have results.

    These rules state causes, but no states and no automatic quarantine. The state is taken from the cause.
    """

    name = "old rules (version 2)"
    quarantined: ClassVar[frozenset[State] | None] = None

    def state_at(self, history: History, position: int) -> State:
        """Return the state that corresponds to the cause of a failure."""
        return _STATES[self.cause_of(history, Failure(position, attempts=1))]

    def cause_of(self, history: History, failure: Failure) -> Cause:
        """Return the change of a failing result in the words of the benchmark."""
        with_results = [run.number for run in history.runs[: failure.position + 1] if run.executed]
        begin = with_results[-RECENT_RUNS] if len(with_results) >= RECENT_RUNS else 0
        executed = executed_until(history, failure.position, begin)
        return _CAUSES[judge_by_version_2("".join(_OUTCOMES[outcome.status] for outcome in reversed(executed)))]


class CurrentRules(Rule):
    """Version 3: the newest segment of the results, without outages."""

    name = "current rules (version 3)"

    def state_at(self, history: History, position: int) -> State:
        """Return the state by the newest 500 runs."""
        runs = islice(_runs_until(history, position), MIN_RUNS)
        return judge_state(_results(history, [run for run in runs if not is_outage(run.executed, run.failed)])).value

    def cause_of(self, history: History, failure: Failure) -> Cause:
        """Return the change of a failing result in the words of the benchmark, by the newest 100 runs."""
        window = list(islice(_runs_until(history, failure.position), WINDOW_RUNS))
        selected = select_evidence([is_outage(run.executed, run.failed) for run in window])
        evidence = [window[index] for index in selected]
        change, _ = judge_failure(_results(history, evidence), was_retried=failure.attempts > 1)
        return _CAUSES[change]


def _runs_until(history: History, position: int) -> Iterator[Run]:
    """Yield the runs that have results, newest first."""
    return (run for run in reversed(history.runs[: position + 1]) if run.executed)


def _results(history: History, runs: list[Run]) -> EvidenceHistory:
    statuses = [history.outcomes[run.number].status for run in runs]
    evidence_runs = [
        EvidenceRun(str(run.number), run.commit, is_mass_failure(run.executed, run.failed)) for run in runs
    ]
    return EvidenceHistory(
        "".join(_OUTCOMES.get(status, NOT_EXECUTED) for status in statuses), EvidenceRuns(evidence_runs)
    )
