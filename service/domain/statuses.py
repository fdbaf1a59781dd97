"""Statuses of results and runs: their severity, their codes in the database, and their counts."""

from operator import add, sub
from typing import Final, Literal, NamedTuple, get_args

ResultStatus = Literal["passed", "failed", "error", "skipped", "canceled"]
RunStatus = Literal["passed", "failed", "error", "canceled"]

RESULT_STATUSES: Final[tuple[ResultStatus, ...]] = get_args(ResultStatus)
RUN_STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)
FAILING: Final[tuple[ResultStatus, ...]] = ("failed", "error")
EXECUTED: Final[tuple[ResultStatus, ...]] = ("passed", *FAILING)

# A worse status has a higher rank. The SQL function severity() must return the same ranks.
SEVERITY: Final[dict[str, int]] = {"passed": 1, "skipped": 2, "canceled": 3, "failed": 4, "error": 5}

# The database stores a status as one byte, its first letter. The SQL function status_name() is the inverse.
STATUS_CODES: Final[dict[str, str]] = {status: status[0] for status in RESULT_STATUSES}
STATUS_NAMES: Final[dict[str, ResultStatus]] = {status[0]: status for status in RESULT_STATUSES}


class Counts(NamedTuple):
    """The number of results of a run by status, and the number of flaky results among them."""

    passed: int = 0
    failed: int = 0
    error: int = 0
    skipped: int = 0
    canceled: int = 0
    flaky: int = 0

    def add(self, change: "Counts") -> "Counts":
        """Return the sums of the counts. A change can be negative."""
        return Counts(*map(add, self, change))

    def subtract(self, removed: "Counts") -> "Counts":
        """Return the differences of the counts."""
        return Counts(*map(sub, self, removed))

    @property
    def total(self) -> int:
        """The number of results."""
        return sum(self) - self.flaky
