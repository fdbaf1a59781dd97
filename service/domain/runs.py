"""What is known of a run besides its results, and how what several events say of it becomes one."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from service.domain.results import Counts
from service.domain.statuses import SEVERITY, STATUS_CODES, STATUS_NAMES

# A status that came with one of several shards speaks for its part only, so it has no time of its own:
# the worst of them counts, together with the results, until a plain event says otherwise.
SHARD_STATUS_EVENT_S: Final = -(2**62)

FieldVersions = dict[str, tuple[int, Any]]  # field -> (time of the event that said so, value)


@dataclass(frozen=True, slots=True)
class RunState:
    """One run as one event or several describe it. Times are ms or, for events, s since 1970."""

    run_id: str
    project_id: str
    completed_ms: int
    last_completed_ms: int
    started_ms: int | None
    field_versions: FieldVersions = field(default_factory=dict)
    stated_status: str | None = None
    status_event_s: int = SHARD_STATUS_EVENT_S
    expected_results: int | None = None
    expected_shards: int | None = None
    shards: frozenset[str] = frozenset()
    complete: bool = False


def merge(known: RunState, new: RunState) -> RunState:
    """Both together. Apart from `completed_ms`, which stays the known one's, the order makes no difference."""
    given = max(known, new, key=_status_precedence)
    return replace(
        known,
        last_completed_ms=max(known.last_completed_ms, new.last_completed_ms),
        started_ms=_least(known.started_ms, new.started_ms),
        field_versions=_merge_fields(known.field_versions, new.field_versions),
        stated_status=given.stated_status,
        status_event_s=given.status_event_s,
        expected_results=_greatest(known.expected_results, new.expected_results),
        expected_shards=_greatest(known.expected_shards, new.expected_shards),
        shards=known.shards | new.shards,
        complete=known.complete or new.complete,
    )


def is_complete(state: RunState, counts: Counts) -> bool:
    """Complete once and for all, or as soon as all that was announced has come."""
    if state.complete:
        return True
    announced = state.expected_results is not None or state.expected_shards is not None
    results_came = state.expected_results is None or counts.total >= state.expected_results
    shards_came = state.expected_shards is None or len(state.shards) >= state.expected_shards
    return announced and results_came and shards_came


def run_status(state: RunState, counts: Counts) -> str:
    """The letter of the run's status: the producer's word, else error > failed > canceled > passed."""
    by_results = _rollup(counts)
    if state.stated_status is None:
        return by_results
    if state.status_event_s == SHARD_STATUS_EVENT_S:
        return max(state.stated_status, by_results, key=_rank)
    return state.stated_status


def duration_ms(state: RunState) -> int | None:
    """From the first start to the last completion, or None where no event says when it started."""
    return None if state.started_ms is None else max(0, state.last_completed_ms - state.started_ms)


def _rollup(counts: Counts) -> str:
    for status in ("error", "failed", "canceled"):
        if getattr(counts, status):
            return STATUS_CODES[status]
    return STATUS_CODES["passed"]


def _merge_fields(known: FieldVersions, new: FieldVersions) -> FieldVersions:
    merged = dict(known)
    for name, said in new.items():
        merged[name] = max(merged.get(name, said), said, key=lambda pair: (pair[0], str(pair[1])))
    return merged


def _status_precedence(state: RunState) -> tuple[int, int]:
    return state.status_event_s, _rank(state.stated_status)


def _rank(letter: str | None) -> int:
    return SEVERITY[STATUS_NAMES[letter]] if letter else 0


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _greatest(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
