"""The rules of this project."""

from typing import ClassVar, Final

from benchmarks.flakiness.histories import History, State
from benchmarks.flakiness.pulls import Cause, Failure
from benchmarks.flakiness.rules import Rule, executed_until
from service.comparison.model import WINDOW_RUNS, PastResult, classify_failing
from service.domain.statuses import STATUS_CODES

_CAUSES: Final[dict[str, Cause]] = {"new_failure": "new", "flaky_failure": "flaky", "known_failure": "known"}
_STATES: Final[dict[Cause, State]] = {"new": "healthy", "flaky": "flaky", "known": "broken"}


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
        begin = with_results[-WINDOW_RUNS] if len(with_results) >= WINDOW_RUNS else 0
        window = [
            PastResult(
                run_id=str(outcome.run),
                status=STATUS_CODES["failed" if outcome.status == "failed_finally" else "passed"],
                flaky=outcome.status == "flaky",
            )
            for outcome in reversed(executed_until(history, failure.position, begin))
        ]
        return _CAUSES[classify_failing(window, is_quarantined=False)]
