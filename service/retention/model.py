"""Retention: the periods of the classes of data, and the tables that each class removes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal, get_args

RetentionClass = Literal["artifacts", "results", "runs"]  # in the order of their periods
RETENTION_CLASSES: Final[tuple[RetentionClass, ...]] = get_args(RetentionClass)

# The classes of the rows that a round removes for a month of a class. A month of results includes its artifacts.
REMOVED_CLASSES: Final[Mapping[RetentionClass, Sequence[RetentionClass]]] = {
    "artifacts": ("artifacts",),
    "results": ("results", "artifacts"),
    "runs": ("runs",),
}

_MARGIN: Final = timedelta(days=1)  # maximum time between the acceptance and the storage of an event


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The period of each class after the completion of the run: artifacts ≤ results ≤ runs, or None for runs."""

    artifacts: timedelta
    results: timedelta
    runs: timedelta | None
    grace: timedelta  # from the first observation of an expired month to its removal

    def period_of(self, class_: RetentionClass) -> timedelta | None:
        """Return the period of the class, or None if its data doesn't expire."""
        return {"artifacts": self.artifacts, "results": self.results, "runs": self.runs}[class_]


def first_retained_month(now: datetime, period: timedelta) -> date:
    """Return the first month that has data within the period. `now` is in UTC."""
    return (now - period - _MARGIN).date().replace(day=1)
