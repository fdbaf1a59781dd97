"""Statuses of results and runs: the words that producers use, their severity, their codes in the database, counts.

And the values of the states of cases.
"""

import re
from operator import add, sub
from typing import Final, Literal, NamedTuple, get_args

ResultStatus = Literal["passed", "failed", "error", "skipped", "canceled"]
RunStatus = Literal["passed", "failed", "error", "canceled"]

RESULT_STATUSES: Final[tuple[ResultStatus, ...]] = get_args(ResultStatus)
RUN_STATUSES: Final[tuple[RunStatus, ...]] = get_args(RunStatus)
FAILING: Final[tuple[ResultStatus, ...]] = ("failed", "error")
EXECUTED: Final[tuple[ResultStatus, ...]] = ("passed", *FAILING)
NOT_FAILED: Final[tuple[ResultStatus, ...]] = ("passed", "skipped")

StateValue = Literal["healthy", "flaky", "broken"]  # of a case on the default branch
STATE_VALUES: Final[tuple[StateValue, ...]] = get_args(StateValue)  # from the best to the worst

# The words of all producers and report formats, in lower case and without separators. docs/reports.md lists them.
_WORDS: Final[dict[ResultStatus, str]] = {
    "passed": "passed pass ok success succeeded",
    "failed": "failed fail failure ko",
    "error": "error broken crashed timedout timeout interrupted aborted blocked inconclusive disconnected",
    "skipped": "skipped skip pending disabled ignored todo notrun notexecuted inactive suppressed",
    "canceled": "canceled cancelled cancel",  # codespell:ignore cancelled - the spelling of some producers
}
_STATUS_OF_WORD: Final = {word: status for status, words in _WORDS.items() for word in words.split()}
_SEPARATORS: Final = re.compile(r"[\s_-]+")  # timed-out, timed_out, and "Timed Out" are the word timedout
_MAX_SHOWN_WORD: Final = 100

# A worse status has a higher rank. The SQL function severity() must return the same ranks.
SEVERITY: Final[dict[str, int]] = {"passed": 1, "skipped": 2, "canceled": 3, "failed": 4, "error": 5}

# The database stores a status as one byte, its first letter. The SQL function status_name() is the inverse.
STATUS_CODES: Final[dict[str, str]] = {status: status[0] for status in RESULT_STATUSES}
STATUS_NAMES: Final[dict[str, ResultStatus]] = {status[0]: status for status in RESULT_STATUSES}


def read_status(word: object) -> ResultStatus | None:
    """Return the status of a producer's word, in any case and with any separators. None if the word is unknown."""
    if not isinstance(word, str):
        return None
    return _STATUS_OF_WORD.get(word) or _STATUS_OF_WORD.get(_SEPARATORS.sub("", word).lower())


def states_failure(word: object) -> bool:
    """Return whether a result with this word is stored as failing. A result with an unknown word is an error."""
    return (read_status(word) or "error") in FAILING


def describe_unknown_status(word: object) -> str:
    """Return the failure of a result whose status is unknown. `word` is the value that the producer states."""
    match word:
        case None:
            return "unknown status: the status is missing"
        case str():
            return f"unknown status {word[:_MAX_SHOWN_WORD]!r}"
        case int() | float():
            return f"unknown status {str(word)[:_MAX_SHOWN_WORD]}"
        case _:
            return f"unknown status of type {type(word).__name__}"


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
