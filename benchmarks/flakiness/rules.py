"""What a rule must implement to be compared. A rule sees histories without labels, and only up to a position."""

from abc import ABC, abstractmethod
from typing import ClassVar

from benchmarks.flakiness.histories import EXECUTED, History, Outcome, State
from benchmarks.flakiness.pulls import Cause, Failure


class Rule(ABC):
    """A published or own rule. Positions are run indexes; the outcome of the run at the position is known.

    `quarantined` are the states in which the automatic quarantine excuses failures, and None if the rule has none.
    """

    name: ClassVar[str]
    quarantined: ClassVar[frozenset[State] | None] = frozenset({"flaky"})

    @abstractmethod
    def state_at(self, history: History, position: int) -> State:
        """Return the state of a case after the run at this position."""

    def cause_of(self, history: History, failure: Failure) -> Cause:
        """Return the cause of the failure of a pull request. By default, the state of the case explains it."""
        return explain(self.state_at(history, failure.position))


def explain(state: State) -> Cause:
    """Return the cause of a failure if only the state of its case on the base branch explains it."""
    match state:
        case "broken":
            return "known"
        case "flaky":
            return "flaky"
        case "healthy":
            return "new"


def executed_until(history: History, position: int, begin: int = 0) -> list[Outcome]:
    """Return the executed outcomes of the runs from `begin` to the position, oldest first."""
    return [outcome for outcome in history.outcomes[max(0, begin) : position + 1] if outcome.status in EXECUTED]
