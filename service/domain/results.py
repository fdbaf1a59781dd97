"""A result on its way into the store: what one event says of one case, and which of two sayings wins."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from service.domain.ids import CaseKey
from service.domain.statuses import RESULT_STATUSES, SEVERITY, STATUS_CODES, STATUS_NAMES

_RANK: Final = {letter: SEVERITY[status] for letter, status in STATUS_NAMES.items()}
MAX_DURATION_MS: Final = 2**31 - 1  # what the table holds: 24.8 days
_FAILING: Final = frozenset("fe")


class Attempt(NamedTuple):
    """One execution of a case. Times are ms since 1970, a status is its letter."""

    status: str
    duration_ms: int
    started_ms: int | None = None
    type: str | None = None
    message: str | None = None
    details: str | None = None
    logs_ref: str | None = None


class ArtifactReference(NamedTuple):
    """A file that a producer names; the bytes stay where they are."""

    kind: str
    name: str
    content_type: str | None
    size: int | None
    sha256: bytes | None
    uri: str | None


class CaseOutcome(NamedTuple):
    """What one event says of one case. `attempts` is empty where one attempt passed and left no log."""

    case_key: CaseKey
    status: str
    duration_ms: int
    started_ms: int | None
    event_s: int
    attempt_count: int
    flaky: bool
    attempts: tuple[Attempt, ...] = ()
    artifacts: tuple[ArtifactReference, ...] = ()


class Counts(NamedTuple):
    """How many results of a run have each status, and how many passed only after failing."""

    passed: int = 0
    failed: int = 0
    error: int = 0
    skipped: int = 0
    canceled: int = 0
    flaky: int = 0

    @property
    def total(self) -> int:
        """All results of the run."""
        return self.passed + self.failed + self.error + self.skipped + self.canceled


def count(outcomes: Iterable[CaseOutcome]) -> Counts:
    """The counts of these outcomes, one per case."""
    counted = list(outcomes)
    letters = Counter([outcome.status for outcome in counted])
    flaky = sum([outcome.flaky for outcome in counted])
    return Counts(**{status: letters[STATUS_CODES[status]] for status in RESULT_STATUSES}, flaky=flaky)


def is_flaky(status: str, earlier: Iterable[Attempt]) -> bool:
    """Passed in the end, after an attempt that failed."""
    return status == "p" and any(attempt.status in _FAILING for attempt in earlier)


def add_attempt(first: CaseOutcome, then: CaseOutcome) -> CaseOutcome:
    """The outcome of a case that one event reports twice: the second report is a further attempt."""
    earlier, later = _attempts(first), _attempts(then)
    return CaseOutcome(
        case_key=first.case_key,
        status=then.status,
        duration_ms=min(MAX_DURATION_MS, first.duration_ms + then.duration_ms),
        started_ms=first.started_ms,
        event_s=then.event_s,
        attempt_count=len(earlier) + len(later),
        flaky=is_flaky(then.status, earlier) or then.flaky,
        attempts=earlier + later,
        artifacts=first.artifacts + then.artifacts,
    )


def merge(ours: dict[CaseKey, CaseOutcome], theirs: Iterable[CaseOutcome]) -> None:
    """Takes into `ours` what another event of the same run says; the order of merging makes no difference."""
    for outcome in theirs:
        known = ours.get(outcome.case_key)
        if known is None or precedence(outcome) > precedence(known):
            ours[outcome.case_key] = outcome


def precedence(outcome: CaseOutcome) -> tuple[int, int, int, int, str]:
    """Newer event first, then worse, longer, more attempts, and a text that only makes the order total.

    results.sql and this function must rank alike.
    """
    deciding = outcome.attempts[-1].message if outcome.attempts else None
    return (
        outcome.event_s,
        _RANK[outcome.status],
        outcome.duration_ms,
        outcome.attempt_count,
        deciding or "",
    )


def _attempts(outcome: CaseOutcome) -> tuple[Attempt, ...]:
    return outcome.attempts or (Attempt(outcome.status, outcome.duration_ms, outcome.started_ms),)
